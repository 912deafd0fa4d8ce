"""Networks that a user brings: built of the operations, and with the names, of torchvision's and timm's."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fastwsi import data
from fastwsi.detectors import Ensemble, Liu2017, load
from fastwsi.nn import classifier_of, for_inference, without_classifier
from fastwsi.slides import SyntheticSet, write_camelyon16

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
TINY = Liu2017.recipes["liu2017-small"].changed(
    {"patch": 75, "centre": 32, "jitter": 2, "mpp": [1.0], "steps": 2, "batch_size": 4, "validate_every": 2,
     "validation_patches": 8, "workers": 0, "scan.orientations": False}
)  # fmt: skip
CPU = {"accelerator": "cpu", "devices": 1, "progress": False}
Outputs = namedtuple("Outputs", ["logits", "aux_logits"])


class Googly(nn.Module):
    """torchvision's Inception and GoogLeNet: an auxiliary head's logits beside the others in training."""

    def __init__(self, outputs=2):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8, eps=0.001))
        self.aux = nn.Linear(8, outputs)
        self.fc = nn.Linear(8, outputs)

    def forward(self, x):
        features = functional.adaptive_avg_pool2d(functional.relu(self.stem(x)), 1).flatten(1)
        logits = self.fc(functional.dropout(features, training=self.training))
        return Outputs(logits, self.aux(features)) if self.training else logits


class Efficient(nn.Module):
    """torchvision's EfficientNet and MobileNets: depthwise convolutions, SiLU, squeeze, ``classifier``."""

    def __init__(self, outputs=2):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU(inplace=True),
            nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), nn.BatchNorm2d(8), nn.Hardswish(),
        )  # fmt: skip
        self.squeeze = nn.Conv2d(8, 8, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2, inplace=True), nn.Linear(8, outputs))

    def forward(self, x):
        x = self.features(x)
        x = x * self.squeeze(self.avgpool(x)).sigmoid()
        return self.classifier(torch.flatten(self.avgpool(x), 1))


class Attentive(nn.Module):
    """timm's vision transformers: patches as tokens, LayerNorm, attention, ``head``, `get_classifier`."""

    def __init__(self, outputs=2):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 16, 15, 15)
        self.pos_embed = nn.Parameter(torch.zeros(1, 25, 16))
        self.norm1, self.norm = nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)
        self.head = nn.Linear(16, outputs)

    def get_classifier(self):
        return self.head

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2) + self.pos_embed
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        x = x + self.proj(functional.scaled_dot_product_attention(q, k, v))
        return self.head(self.norm(x).mean(1))


KINDS = [Googly, Efficient, Attentive]


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    root = tmp_path_factory.mktemp("slides")
    write_camelyon16(root, SyntheticSet(4, 0, (1200, 900), 1.0, 1))
    return data.camelyon16(root, validation=0.5)


def patches(*shape):
    return np.random.default_rng(0).integers(80, 250, (*shape, 75, 75, 3), np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_trained_saved_and_loaded(kind, slides, tmp_path):
    torch.manual_seed(1)
    own = kind()
    before = classifier_of(own)[1].weight.detach().clone()
    made = Liu2017(TINY, network=own)
    made.fit(slides, tmp_path, **CPU)
    assert not torch.equal(classifier_of(own)[1].weight, before)
    pixels = patches(3)
    with torch.no_grad():
        inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
        wanted = own.eval()(inputs).softmax(1)[:, 1].numpy()
    np.testing.assert_allclose(made.score(pixels), wanted, atol=1e-5)
    path = tmp_path / "model.safetensors"
    np.testing.assert_array_equal(load(path, network=kind()).score(pixels), made.score(pixels))
    with pytest.raises(
        ValueError, match=f"weights of a network of your own, {kind.__name__}: pass it as net"
    ):
        load(path)
    with pytest.raises(ValueError, match="tensors do not fit its recipe"):
        Liu2017.load(path, network=KINDS[KINDS.index(kind) - 1]())


@pytest.mark.parametrize("kind", KINDS)
def test_made_fast_for_inference(kind):
    own = kind().eval()
    inputs = torch.rand(2, 3, 75, 75)
    torch.testing.assert_close(for_inference(own)(inputs), own(inputs), atol=1e-5, rtol=1e-5)


def test_the_recipes_network_is_not_another(tmp_path):
    Liu2017(TINY).save(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="holds the weights of the recipe's network, got another"):
        Liu2017.load(tmp_path / "a.safetensors", network=Googly())


@pytest.mark.parametrize("kind", [Efficient, Attentive])  # an auxiliary head has no place in a tower
def test_towers_of_several_resolutions(kind, slides, tmp_path):
    recipe = TINY.changed({"mpp": [1.0, 2.0], "steps": 1, "validate_every": 0})
    networks = [kind(), kind(1000)]
    made = Liu2017(recipe, network=networks)
    made.fit(slides, tmp_path, **CPU)
    again = load(tmp_path, network=networks)  # which are as they were
    pixels = patches(2, 2)
    np.testing.assert_array_equal(again.score(pixels), made.score(pixels))


def test_wrong_networks():
    with pytest.raises(ValueError, match=r"got outputs of shape \(1, 1000\), expected \(1, 2\): two logits"):
        Liu2017(TINY, network=Efficient(1000))
    with pytest.raises(ValueError, match="network: got 2, expected 1, one for each resolution"):
        Liu2017(TINY, network=[Efficient(), Efficient()])
    with pytest.raises(ValueError, match="network: Conv2d has no linear layer"):
        classifier_of(nn.Conv2d(3, 2, 1))


@pytest.mark.parametrize(("kind", "name"), [(Googly, "fc"), (Efficient, "classifier.1"), (Attentive, "head")])
def test_classifiers(kind, name):
    own = kind(5).eval()
    assert classifier_of(own) == (name, own.get_submodule(name))
    features = without_classifier(own)
    assert own(torch.zeros(1, 3, 75, 75)).shape == (1, features)


def test_an_ensemble_on_disk(tmp_path):
    both = Ensemble(Liu2017(TINY.changed({"seed": seed})) for seed in range(11))  # "10" after "9"
    both.save(tmp_path)
    again = load(tmp_path)
    pixels = patches(2)
    np.testing.assert_array_equal(again.score(pixels), both.score(pixels))
    assert [member.recipe.seed for member in again.members] == list(range(11))
    few = load([tmp_path / "member-3", tmp_path / "member-4" / "model.safetensors"])
    assert [member.recipe.seed for member in few.members] == [3, 4]
    with pytest.raises(FileNotFoundError, match=r"holds no model.safetensors, and no members"):
        load(tmp_path.parent)
    with pytest.raises(ValueError, match="members: got PatchInput"):
        Ensemble([both.members[0], Liu2017(TINY.changed({"patch": 107}))])
