"""Liu 2017: the paper's facts, and small networks trained on small slides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fastwsi import data, kernels
from fastwsi.augment import Liu2017Augment
from fastwsi.data import PatchBatch
from fastwsi.detectors import Ensemble, Liu2017, load
from fastwsi.detectors.towers import Towers
from fastwsi.engine import RunFolder
from fastwsi.engine.optimisation import optimiser_of, schedule_of
from fastwsi.engine.optimisers import TensorFlowRMSProp
from fastwsi.slides import SyntheticSet, write_camelyon16

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
PAPER, PAPERS_SMALL = Liu2017.recipes["liu2017"], Liu2017.recipes["liu2017-small"]
# Departures for speed alone.
TINY = PAPERS_SMALL.changed(
    {"patch": 75, "centre": 32, "jitter": 2, "mpp": [1.0], "steps": 4, "batch_size": 4, "validate_every": 4,
     "validation_patches": 8, "workers": 0, "scan.orientations": False}
)  # fmt: skip
CPU = {"accelerator": "cpu", "devices": 1, "progress": False}


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    root = tmp_path_factory.mktemp("slides")
    write_camelyon16(root, SyntheticSet(4, 0, (1200, 900), 1.0, 1))
    return data.camelyon16(root, validation=0.5)


def patches(count, recipe=TINY, seed=0):
    side = recipe.patch
    shape = (side, side, 3) if recipe.towers == 1 else (recipe.towers, side, side, 3)
    return np.random.default_rng(seed).integers(80, 250, (count, *shape), np.uint8)


class TestFacts:
    def test_networks(self):
        def count(network):
            return sum(weight.numel() for weight in network.parameters())

        assert count(Liu2017(PAPERS_SMALL).network) == 281_775
        whole = Liu2017(PAPER).network
        assert count(whole) - count(whole.fc) == 21_785_568

    def test_training(self):
        optimiser = optimiser_of(PAPER, [torch.nn.Parameter(torch.ones(1))])
        assert isinstance(optimiser, TensorFlowRMSProp)
        assert {key: optimiser.defaults[key] for key in ("lr", "decay", "momentum", "epsilon")} == {
            "lr": 0.05, "decay": 0.9, "momentum": 0.9, "epsilon": 1.0,
        }  # fmt: skip
        factor = schedule_of(PAPER, optimiser)["scheduler"].lr_lambdas[0]
        assert [0.05 * factor(u) for u in (0, 62_499, 62_500, 125_000)] == [0.05, 0.05, 0.025, 0.0125]
        assert PAPER.batch_size == 32

    def test_input_and_variation(self):
        assert (PAPER.patch, PAPER.centre, PAPER.mpp, PAPER.soft_labels) == (299, 128, (), False)
        assert PAPER.policy(training=True) == Liu2017Augment()

    def test_every_setting_says_what_it_is(self):
        rows = {row["name"]: row for row in PAPER.rows()}
        assert all(row["what"] for row in rows.values())
        assert "Liu 2017" in rows["learning_rate"]["source"]
        assert rows["halve_every"]["unit"] == "examples"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"centre": 300}, "centre: got 300, expected at most patch, 299"),
        ({"mpp": [0.5, 0.25]}, "expected rising resolutions above 0"),
        ({"patch": 50}, "patch: got 50"),
        ({"depth": 1}, "depth: no such setting"),
    ],
)
def test_wrong_recipes(settings, message):
    with pytest.raises(ValueError, match=message):
        PAPER.changed(settings)


def test_initial_weights_are_the_seeds():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (Liu2017(TINY.changed({"seed": seed})) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.network.fc.weight, same.network.fc.weight)
    assert not torch.equal(one.network.fc.weight, other.network.fc.weight)


class TestPredict:
    def test_is_the_networks_probability(self):
        made = Liu2017(TINY)
        pixels = patches(40)  # more than are scored at once
        with torch.no_grad():
            inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
            wanted = made.network.eval()(inputs).softmax(1)[:, 1].numpy()
        np.testing.assert_allclose(made.score(pixels), wanted, atol=1e-5)
        assert made.score(pixels[:0]).shape == (0,)

    def test_is_the_mean_over_eight_orientations(self):
        plain = Liu2017(TINY)
        mean = Liu2017(TINY.changed({"scan.orientations": True}))
        pixels = patches(3)
        each = [plain.score(kernels.orient(pixels, k)) for k in range(8)]
        np.testing.assert_allclose(mean.score(pixels), np.mean(each, 0), atol=1e-6)
        np.testing.assert_allclose(mean.score(kernels.orient(pixels, 3)), mean.score(pixels), atol=1e-5)

    def test_ensembles(self):
        members = [Liu2017(TINY.changed({"seed": seed})) for seed in (1, 2)]
        pixels = patches(3)
        wanted = (members[0].score(pixels) + members[1].score(pixels)) / 2
        np.testing.assert_allclose(Ensemble(members).score(pixels), wanted, atol=1e-7)
        with pytest.raises(ValueError, match="members: got none"):
            Ensemble([])

    def test_wrong_patches(self):
        with pytest.raises(
            ValueError, match=r"pixels: got uint8 of shape \(1, 80, 80, 3\), expected uint8 \(n, \*\(75"
        ):
            Liu2017(TINY).score(np.zeros((1, 80, 80, 3), np.uint8))
        with pytest.raises(ValueError, match="pixels: got float64"):
            Liu2017(TINY).score(patches(1) / 255)


class TestBatches:
    def batch(self, pixels, indices=(5, 9)):
        shares = torch.tensor([0.0, 0.25])
        return PatchBatch(
            torch.from_numpy(pixels), (shares > 0).long(), shares, None, indices, ("a", "b"), ((0, 0), (1, 1))
        )

    def test_a_patch_is_varied_by_its_number_alone(self):
        made = Liu2017(TINY)
        pixels = np.random.default_rng(0).integers(0, 256, (2, 79, 79, 3), np.uint8)
        both = made.pixels(self.batch(pixels), training=True)
        assert both.shape == (2, 3, 75, 75)
        assert both.is_contiguous(memory_format=torch.channels_last)
        both = both.clone()  # the memory is lent
        turned = made.pixels(self.batch(pixels[::-1].copy(), (9, 5)), training=True)
        assert torch.equal(both[0], turned[1])
        assert not torch.equal(both[0], made.pixels(self.batch(pixels, (6, 9)), training=True)[0])

    def test_validation_sees_the_middle_as_it_is(self):
        pixels = np.random.default_rng(0).integers(0, 256, (2, 79, 79, 3), np.uint8)
        found = Liu2017(TINY).pixels(self.batch(pixels), training=False)
        wanted = torch.from_numpy(pixels[:, 2:-2, 2:-2]).permute(0, 3, 1, 2) / 127.5 - 1
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)

    def test_losses(self):
        logits = torch.tensor([[2.0, 0.0], [0.5, 1.0]])
        logp = logits.log_softmax(1)
        batch = self.batch(np.zeros((2, 79, 79, 3), np.uint8))
        hard, soft = Liu2017(TINY), Liu2017(TINY.changed({"soft_labels": True}))
        torch.testing.assert_close(hard.loss(logits, batch), -(logp[0, 0] + logp[1, 1]) / 2)
        wanted = -(logp[0, 0] + 0.75 * logp[1, 0] + 0.25 * logp[1, 1]) / 2
        torch.testing.assert_close(soft.loss(logits, batch), wanted)
        torch.testing.assert_close(hard.scores(logits), logits.softmax(1)[:, 1])


class TestFit:
    def test_a_run(self, slides, tmp_path):
        made = Liu2017(TINY)
        seen = []
        folder = made.fit(slides, tmp_path / "run", reading=lambda *each: seen.append(each), **CPU)
        assert [row["update"] for row in folder.rows() if "validation_auc" in row] == [4]
        assert len(seen) == 4
        again = Liu2017.load(tmp_path / "run" / "model.safetensors")
        pixels = patches(2)
        np.testing.assert_array_equal(again.score(pixels), made.score(pixels))
        other = Liu2017(TINY)
        other.fit(slides, tmp_path / "other", **CPU)
        np.testing.assert_array_equal(other.score(pixels), made.score(pixels))
        assert RunFolder(tmp_path / "run").last is not None

    def test_several_resolutions_about_one_middle(self, slides, tmp_path):
        recipe = TINY.changed({"mpp": [1.0, 2.0], "steps": 1, "validate_every": 0})
        made = Liu2017(recipe)
        assert isinstance(made.network, Towers)
        made.fit(slides, tmp_path, **CPU)
        sample = made.samples(training=True)[3]
        assert sample.pixels.shape == (2, 79, 79, 3)
        # The coarse patch's middle is the fine one, at half its size.
        fine = kernels.area_resize(sample.pixels[0][1:, 1:], (39, 39)).astype(float)
        middle = sample.pixels[1][20:59, 20:59].astype(float)
        assert np.corrcoef(fine.ravel(), middle.ravel())[0, 1] > 0.9
        again = Liu2017.load(tmp_path / "model.safetensors")
        assert again.score(patches(2, recipe)).shape == (2,)

    def test_stains_normalised(self, slides, tmp_path):
        recipe = TINY.changed({"hsd": True, "steps": 1, "validate_every": 0})
        made = Liu2017(recipe)
        made.fit(slides, tmp_path, **CPU)
        assert made.stain is not None
        again = Liu2017.load(tmp_path / "model.safetensors")
        assert again.stain == made.stain
        # A slide in other colours comes out alike.
        pixels = made.samples(training=True)[0].pixels[2:-2, 2:-2][None]
        with slides.records[0].open() as slide:
            normalised = again.colours(slide)(pixels)
            assert Liu2017(TINY).colours(slide) is None
        np.testing.assert_array_equal(normalised, data.stain_of(slides.records[0], made.stain)(pixels))
        assert (normalised != pixels).any()

    def test_the_best_of_all_validations(self, slides, tmp_path):
        made = Liu2017(TINY.changed({"validate_every": 1, "keep": "best", "learning_rate": 0.5}))
        folder = made.fit(slides, tmp_path, **CPU)
        rows = [row for row in folder.rows() if "validation_auc" in row]
        assert [row["update"] for row in rows] == [1, 2, 3, 4]
        best, out = (load(tmp_path / name) for name in ("best.safetensors", "model.safetensors"))
        pixels = patches(4)
        np.testing.assert_array_equal(out.score(pixels), best.score(pixels))
        np.testing.assert_array_equal(out.score(pixels), load(tmp_path).score(pixels))

    def test_validation_without_a_class(self, slides, tmp_path):
        normal = [replace(each, split="validation") for each in slides.records if each.label == "normal"]
        tumour = [each for each in slides.records if each.split == "train"]
        with pytest.raises(ValueError, match="validation: maps: none of 2 slides"):
            Liu2017(TINY).fit(replace(slides, records=(*tumour, *normal)), tmp_path, **CPU)

    def test_without_training_slides(self, slides, tmp_path):
        with pytest.raises(ValueError, match="has no slides of the split 'train'"):
            Liu2017(TINY).fit(slides.of("test"), tmp_path, **CPU)
