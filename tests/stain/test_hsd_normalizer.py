"""HsdNormalizer: fitting, applying, files, pickles, workers and the module form."""

from __future__ import annotations

import json
import logging
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from fastwsi import kernels
from fastwsi.stain import HsdNormalize, HsdNormalizer
from kernels.arrays import tissue

RNG = np.random.default_rng(0)
SLIDES = [[(tissue(RNG, (40, 50)) * f).astype(np.uint8) for _ in range(3)] for f in (0.7, 0.8, 0.9, 1.0)]
TILES = [tissue(RNG, (32, 32)) for _ in range(4)]
FITTED = HsdNormalizer.fit(SLIDES)


def pooled(tiles):
    return sum(kernels.hsd_moments(tile) for tile in tiles)


def test_one_slide_is_its_own_reference():
    reference = HsdNormalizer.fit(SLIDES[0]).reference
    assert reference == pooled(SLIDES[0])
    assert HsdNormalizer.fit([SLIDES[0]]).reference == reference
    assert HsdNormalizer.fit(iter(SLIDES[0])).reference == reference


def test_several_slides_give_component_wise_medians():
    moments = [pooled(tiles) for tiles in SLIDES]
    reference = FITTED.reference
    assert reference.density_mean == np.median([m.density_mean for m in moments])
    assert reference.density_variance == np.median([m.density_variance for m in moments])
    np.testing.assert_array_equal(reference.chroma_mean, np.median([m.chroma_mean for m in moments], axis=0))
    np.testing.assert_array_equal(
        reference.chroma_covariance, np.median([m.chroma_covariance for m in moments], axis=0)
    )
    assert reference.count == sum(m.count for m in moments)


def test_slides_may_be_generators_or_batches():
    generators = (iter(tiles) for tiles in SLIDES)
    assert HsdNormalizer.fit(generators).reference == FITTED.reference
    batches = HsdNormalizer.fit(np.stack(tiles) for tiles in SLIDES).reference
    np.testing.assert_allclose(batches.density_mean, FITTED.reference.density_mean, rtol=1e-12)


def test_a_slide_without_pixels_is_left_out_and_said_so(caplog):
    with caplog.at_level(logging.WARNING):
        assert HsdNormalizer.fit([*SLIDES, []]).reference == FITTED.reference
    assert "data[4]: no pixels" in caplog.text


def test_bad_data_is_refused():
    for nothing in ([], [[], []], np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="data: got no pixels"):
            HsdNormalizer.fit(nothing)
    with pytest.raises(ValueError, match=r"data\[1\]: got single tiles and slides mixed"):
        HsdNormalizer.fit([TILES[0], TILES])
    with pytest.raises(TypeError, match=r"data\[0\]: got str"):
        HsdNormalizer.fit(["slide.svs"])
    with pytest.raises(TypeError, match="images: got dtype float64, expected uint8"):
        HsdNormalizer.fit([TILES[0] / 255])
    with pytest.raises(ValueError, match="tiles: got no pixels"):
        FITTED.for_slide([])


def test_for_slide_then_call():
    normalizer = FITTED.for_slide(TILES)
    assert normalizer.source == pooled(TILES)
    assert FITTED.source is None
    expected = kernels.hsd_normalize(TILES[0], pooled(TILES), FITTED.reference)
    np.testing.assert_array_equal(normalizer(TILES[0]), expected)
    np.testing.assert_array_equal(FITTED(TILES[0], pooled(TILES)), expected)
    np.testing.assert_array_equal(FITTED.for_slide(pooled(TILES))(TILES[0]), expected)
    with pytest.raises(ValueError, match="source: this normaliser does not know the slide's own colours"):
        FITTED(TILES[0])


def test_normalised_tissue_looks_like_the_reference():
    dark = [(tile * 0.75).astype(np.uint8) for tile in TILES]
    found = pooled([FITTED.for_slide(dark)(tile) for tile in dark])
    before = abs(pooled(dark).density_mean - FITTED.reference.density_mean)
    assert abs(found.density_mean - FITTED.reference.density_mean) < 0.2 * before


def test_json_file_round_trip(tmp_path):
    for normalizer in (FITTED, FITTED.for_slide(TILES)):
        path = tmp_path / "stain.json"
        normalizer.save(path)
        assert HsdNormalizer.load(path) == normalizer
        assert HsdNormalizer.load(str(path)) == normalizer
        assert pickle.loads(pickle.dumps(normalizer)) == normalizer
    assert [p.name for p in tmp_path.iterdir()] == ["stain.json"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("not json", "not the JSON of an HsdNormalizer"),
        ("[1]", "no such format mark"),
        ('{"format": "fastwsi.HsdNormalizer", "version": 99}', "got file version 99, expected 1"),
        ('{"format": "fastwsi.HsdNormalizer", "version": 1}', "not the JSON of HsdMoments"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, text, match):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=match) as error:
        HsdNormalizer.load(path)
    assert str(path) in str(error.value)


def test_saving_into_a_missing_folder_fails_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        FITTED.save(tmp_path / "missing" / "stain.json")
    assert list(tmp_path.iterdir()) == []


class Normalised(Dataset):
    def __init__(self, normalizer: HsdNormalizer) -> None:
        self.normalizer = normalizer

    def __len__(self) -> int:
        return len(TILES)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.normalizer(TILES[index], dtype="float32"))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_inside_a_dataset_with_workers(context):
    normalizer = FITTED.for_slide(TILES)
    loader = DataLoader(Normalised(normalizer), batch_size=4, num_workers=2, multiprocessing_context=context)
    (batch,) = loader
    expected = kernels.hsd_normalize(np.stack(TILES), normalizer.source, FITTED.reference, dtype="float32")
    np.testing.assert_array_equal(batch.numpy(), expected)


def test_module_form():
    normalizer = FITTED.for_slide(TILES)
    layer = normalizer.module("bfloat16", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    images = torch.from_numpy(np.stack(TILES))
    expected = kernels.hsd_normalize(
        images,
        normalizer.source,
        FITTED.reference,
        dtype="bfloat16",
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
    )
    assert isinstance(layer, HsdNormalize)
    assert torch.equal(layer(images), expected)
    assert list(layer.parameters()) == []
    assert "bfloat16" in repr(layer)
    sources = [kernels.hsd_moments(tile) for tile in TILES]
    assert not torch.equal(layer(images, sources), expected)


def test_module_state_travels_in_the_state_dict(tmp_path):
    normalizer = FITTED.for_slide(TILES)
    model = torch.nn.Sequential(normalizer.module(), torch.nn.Conv2d(3, 2, 1))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = torch.nn.Sequential(HsdNormalizer.fit(SLIDES[0]).module(), torch.nn.Conv2d(3, 2, 1))
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    images = torch.from_numpy(np.stack(TILES))
    assert torch.equal(other(images), model(images))
    assert other[0].normalizer == normalizer


def test_json_is_readable_by_others():
    document = json.loads(FITTED.to_json())
    assert document["reference"]["density_mean"] == FITTED.reference.density_mean
    assert document["source"] is None
