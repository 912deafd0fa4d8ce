"""`fastwsi info`, `thumbnail` and `tissue`, as a user types them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import fastwsi
from cli.running import run
from fastwsi.slides import synthetic_slide, tissue_mask, write_picture, write_slide


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "drawn.tif"
    write_slide(path, synthetic_slide(3, size=(1200, 900), mpp=1.0, lesions=["micro"]), mpp=1.0, tile=128)
    return path


class TestInfo:
    def test_what_a_person_sees(self, slide):
        shown = " ".join(run("info", slide).output.split())
        for part in (
            "1,200 x 900 pixels, 1.2 x 0.9 mm",
            "1 µm per pixel, from TIFF tags",
            "read by tiff (generic-tiff, tiles of JPEG)",
            "passed over zarr: no folder",
            "0 1,200 900 1 1 128x128",
            "1 600 450 2 2 128x128",
            "tiff.Software fastwsi",
        ):
            assert part in shown

    def test_json_of_one_and_of_several(self, slide):
        one = json.loads(run("info", slide, "--json").stdout)
        assert (one["size"], one["mpp"], one["mpp_source"]) == ([1200, 900], [1.0, 1.0], "TIFF tags")
        assert one["levels"][1] == {"size": [600, 450], "downsample": 2.0, "tile": [128, 128]}
        assert one["passed_over"] == [{"backend": "zarr", "reason": "no folder"}]
        assert [each["name"] for each in json.loads(run("info", slide, slide, "--json").stdout)] == [
            "drawn"
        ] * 2

    def test_a_folder_is_its_slides(self, slide):
        assert json.loads(run("info", slide.parent, "--json").stdout)["path"] == str(slide)

    def test_what_cannot_be_read_comes_after_the_others_are_shown(self, slide, tmp_path):
        (tmp_path / "broken.svs").write_bytes(b"II*\0 no TIFF at all")
        done = run("info", tmp_path / "broken.svs", tmp_path / "none.svs", slide, "--json")
        assert done.exit_code == 1
        assert [each["name"] for each in json.loads(done.stdout)] == ["drawn"]
        broken, missing = done.stderr.splitlines()
        assert broken.startswith(f"error: {tmp_path / 'broken.svs'}: ")
        assert missing == f"error: {tmp_path / 'none.svs'}: there is no such file"

    def test_all_properties_and_another_reader(self, slide):
        few = json.loads(run("info", slide, "--backend", "openslide", "--json").stdout)
        told = json.loads(run("info", slide, "--backend", "openslide", "--properties", "--json").stdout)
        assert told["backend"] == "openslide"
        assert told["levels"][0]["tile"] == [128, 128]
        assert "openslide.level[0].tile-width" in told["properties"]
        assert "openslide.quickhash-1" in few["properties"]
        assert len(few["properties"]) < len(told["properties"])
        assert "backend: got 'magic'" in run("info", slide, "--backend", "magic").output

    def test_an_unknown_resolution_and_a_given_one(self, tmp_path):
        write_picture(tmp_path / "a.png", np.full((60, 80, 3), 200, np.uint8))
        assert "unknown: none in the file; --slide-mpp says it" in " ".join(
            run("info", tmp_path / "a.png").output.split()
        )
        given = json.loads(run("info", tmp_path / "a.png", "--slide-mpp", "0.5", "--json").stdout)
        assert (given["mpp"], given["mpp_source"]) == ([0.5, 0.5], "given")
        assert run("info", tmp_path / "a.png", "-q").output == ""


class TestThumbnail:
    @pytest.mark.parametrize("name", ["small.png", "small.jpg"])
    def test_the_picture_is_the_slides(self, slide, tmp_path, name):
        done = run("thumbnail", slide, tmp_path / name, "--size", 300)
        assert done.output == f"300 x 225 pixels: {tmp_path / name}\n"
        pixels = pixels_of(tmp_path / name).astype(int)
        with fastwsi.open_slide(slide) as opened:
            expected = opened.thumbnail(300)
        assert np.abs(pixels - expected).mean() <= (0 if name.endswith("png") else 3)

    def test_what_is_there_is_kept_unless_it_may_go(self, slide, tmp_path):
        out = tmp_path / "a.png"
        out.write_text("mine")
        done = run("thumbnail", slide, out)
        assert (done.exit_code, out.read_text()) == (1, "mine")
        assert "is there; --overwrite replaces it" in done.output
        told = json.loads(run("thumbnail", slide, out, "--overwrite", "--json", "--size", 100).stdout)
        assert (told["size"], told["scale"]) == ([100, 75], [12.0, 12.0])
        assert pixels_of(out).shape == (75, 100, 3)

    def test_errors_are_one_line(self, slide, tmp_path):
        for out, message in (
            (tmp_path / "a.gif", "expected a name that ends in .png, .jpg or .jpeg"),
            (tmp_path / "nowhere" / "a.png", "is not there"),
        ):
            done = run("thumbnail", slide, out)
            assert (done.exit_code, done.output.count("\n")) == (1, 1)
            assert message in done.output


class TestTissue:
    def test_the_area_is_the_masks(self, slide, tmp_path):
        done = run(
            "tissue", slide, tmp_path / "a.png", "--mpp", 4, "--mask-out", tmp_path / "m.png", "--json"
        )
        told = json.loads(done.stdout)
        with fastwsi.open_slide(slide) as opened:
            expected = tissue_mask(opened, mpp=4)
        assert told["area_mm2"] == expected.area_mm2
        assert told["share"] == expected.mask.mean()
        mask = pixels_of(tmp_path / "m.png")
        assert np.array_equal(mask, 255 * expected.mask)
        assert pixels_of(tmp_path / "a.png").shape == (768, 1024, 3)

    def test_the_mask_can_be_used_as_one(self, slide, tmp_path):
        assert run("tissue", slide, tmp_path / "a.png", "--mask-out", tmp_path / "m.png", "-q").output == ""
        with fastwsi.open_slide(slide) as opened:
            again, found = tissue_mask(opened, mask=tmp_path / "m.png"), tissue_mask(opened)
        assert again.area_mm2 == pytest.approx(found.area_mm2, rel=0.01)

    def test_options_reach_the_mask(self, slide, tmp_path):
        def area(*options):
            done = run("tissue", slide, tmp_path / "a.jpg", "--overwrite", "--json", *options)
            return json.loads(done.stdout)["area_mm2"]

        assert area("--method", "gray") < area("--method", "hsv_otsu", "--closing", 200)
        assert area("--min-area", 1e9) == 0
        shown = run("tissue", slide, tmp_path / "a.jpg", "--overwrite").output
        assert f"{area():.2f} mm² of tissue" in shown

    def test_errors_are_one_line(self, slide, tmp_path):
        write_picture(tmp_path / "plain.png", np.full((60, 80, 3), 200, np.uint8))
        for arguments, message in (
            ((slide, tmp_path / "a.png", "--mask-out", tmp_path / "m.tif"), "--mask-out: got 'm.tif'"),
            ((slide, tmp_path / "a.png", "--mpp", 0), "mpp: got 0"),
            ((tmp_path / "plain.png", tmp_path / "a.png"), "--slide-mpp says it"),
        ):
            done = run("tissue", *arguments)
            assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
            assert message in done.output
        assert not (tmp_path / "a.png").exists()
