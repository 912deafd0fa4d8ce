"""Weights from files and URLs: everything or nothing, and never code."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn as tnn

from fastwsi import nn
from fastwsi.nn import weights as weights_module
from nn.published import AUXILIARY, KEYS, digest, randomised


def tiny(classes=3):
    """A network with every kind of tensor, a few hundred numbers in all."""
    return tnn.Sequential(tnn.Conv2d(3, 4, 3, bias=False), tnn.BatchNorm2d(4), tnn.Linear(5, classes))


def state_of(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture
def trained():
    torch.manual_seed(1)
    return randomised(tiny())


def save(state, path, **options):
    torch.save(state, path, **options)
    return path


def hashed(state, folder, name="tiny", digits=8, **options):
    """A file that has its hash in its name, and its URL."""
    path = save(state, folder / f"{name}.pth", **options)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(folder / f"{name}-{found[:digits]}.pth").as_uri()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub folder of the test's own."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "old"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin", ".PTH"])
def test_files_of_torch(trained, tmp_path, suffix, options):
    path = save(trained.state_dict(), tmp_path / f"a{suffix}", **options)
    network = tiny()
    assert nn.load_weights(network, str(path)) is network
    assert same(network, trained)


def test_safetensors(trained, tmp_path):
    from safetensors.torch import save_file

    save_file(trained.state_dict(), tmp_path / "a.safetensors")
    assert same(nn.load_weights(tiny(), tmp_path / "a.safetensors"), trained)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda s: {"model": s, "args": None},
        lambda s: {"state_dict": {"model": s}},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}},
        lambda s: {f"module.model._orig_mod.{k}": v for k, v in s.items()},
        lambda s: {k: v.half() for k, v in s.items()},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
        lambda s: {k: tnn.Parameter(v, requires_grad=False) for k, v in s.items()},
    ],
)
def test_wrapped_states(trained, tmp_path, wrap):
    path = save(wrap(trained.state_dict()), tmp_path / "a.pth")
    network = nn.load_weights(tiny(), path)
    for key, value in trained.state_dict().items():
        torch.testing.assert_close(network.state_dict()[key], value, rtol=1e-3, atol=1e-3)
    assert network[0].weight.dtype == torch.float32


class Wrapping(tnn.Module):
    def __init__(self):
        super().__init__()
        self.model = tiny()


def test_a_prefix_that_is_the_network_s_own_stays(trained, tmp_path):
    own = Wrapping()
    path = save(own.state_dict(), tmp_path / "a.pth")
    assert same(nn.load_weights(Wrapping(), path), own)
    assert same(nn.load_weights(tiny(), path), own.model)


def test_another_number_of_classes(trained, tmp_path, caplog):
    path = save(trained.state_dict(), tmp_path / "a.pth")
    network = tiny(classes=7)
    before = state_of(network)
    with caplog.at_level(logging.WARNING, logger="fastwsi"):
        nn.load_weights(network, path)
    assert "classifier 2 has 3 outputs and the network 7: left as it was" in caplog.text
    assert torch.equal(network[0].weight, trained[0].weight)
    assert torch.equal(network[2].weight, before["2.weight"])
    assert torch.equal(network[2].bias, before["2.bias"])
    # Told which layer it is, it may be any.
    wider = tnn.Sequential(tnn.Conv2d(3, 9, 3, bias=False), tnn.BatchNorm2d(4), tnn.Linear(5, 3))
    nn.load_weights(wider, path, classifier="0")
    assert torch.equal(wider[2].weight, trained[2].weight)
    with pytest.raises(ValueError, match="classifier: got 'head', expected the path of a layer"):
        nn.load_weights(network, path, classifier="head")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.weight"), r"1 missing \(0.weight\), expected those of Sequential"),
        (lambda s: s.update(extra=torch.zeros(1)), r"1 unexpected \(extra\)"),
        (
            lambda s: s.update({"0.weight": torch.zeros(4, 3, 5, 5)}),
            r"1 of another shape or kind \(0.weight \(4, 3, 5, 5\) for \(4, 3, 3, 3\)\)",
        ),
        (lambda s: s.update({"0.weight": torch.zeros(4, 3, 3, 3).byte()}), r"\(4, 3, 3, 3\) of integers for"),
        (lambda s: s.update({"2.weight": torch.zeros(3, 6)}), r"\(2.weight \(3, 6\) for \(3, 5\)\)"),
        (lambda s: s.update({"2.weight": torch.tensor(0.0)}), r"\(2.weight \(\) for \(3, 5\)\)"),
        (
            lambda s: s.update({f"x{i}": torch.zeros(1) for i in range(9)}),
            r"9 unexpected \(x0, x1, x2, x3 and 5 more\)",
        ),
        (
            lambda s: [s.pop("2.bias"), s.update(y=torch.zeros(1))],
            r"1 missing \(2.bias\), 1 unexpected \(y\)",
        ),
    ],
)
def test_wrong_keys_and_shapes_change_nothing(trained, tmp_path, change, message):
    state = state_of(trained)
    change(state)
    network = tiny()
    before = state_of(network)
    with pytest.raises(ValueError, match=rf"weights: got .*a.pth with keys .*{message}"):
        nn.load_weights(network, save(state, tmp_path / "a.pth"))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "old"])
def test_code_is_refused_and_not_run(trained, tmp_path, options, hub):
    state = {**trained.state_dict(), "x": Hostile(tmp_path / "made")}
    path = save(state, tmp_path / "a.pth", **options)
    with pytest.raises(ValueError, match=r"a.pth, which holds the object \S*mkdir.*never executed"):
        nn.load_weights(tiny(), path)
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Hostile(tmp_path / "made")))
    with pytest.raises(ValueError, match=r"weights: got .*b.pth"):
        nn.load_weights(tiny(), tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"which holds the object \S*mkdir"):
        nn.load_weights(tiny(), hashed(state, tmp_path, **options))
    torch.save(tiny(), tmp_path / "c.pth")
    with pytest.raises(ValueError, match=r"c.pth, which holds the object torch.nn.\S*Sequential"):
        nn.load_weights(tiny(), tmp_path / "c.pth")
    assert not (tmp_path / "made").exists()
    assert torch.load(tmp_path / "a.pth", weights_only=False)  # the file would have
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"PK\x03\x04 no zip", b"\xff" * 64, b"<html>404"])
def test_damaged_files(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights: got .*a\.\w+"):
        nn.load_weights(tiny(), path)


def test_a_cut_file(trained, tmp_path):
    path = save(trained.state_dict(), tmp_path / "a.pth")
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ValueError, match=r"weights: got .*a.pth, expected a file of weights"):
        nn.load_weights(tiny(), path)


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(3),
        {},
        {"epoch": 3},
        {"state_dict": {"epoch": 3}},
        {0: torch.zeros(1)},
        [torch.zeros(1)],
        {"0.weight": torch.zeros(4, 3, 3, 3, dtype=torch.complex64)},
        {"0.weight": torch.zeros(2, 2).to_sparse()},
        {"0.weight": torch.zeros(2, 2, device="meta")},
    ],
    ids=lambda value: str(type(value)),
)
def test_files_of_other_things(tmp_path, content):
    with pytest.raises(ValueError, match=r"weights: got .*a.pth with .*, expected names and dense tensors"):
        nn.load_weights(tiny(), save(content, tmp_path / "a.pth"))


def test_wrong_sources(tmp_path):
    with pytest.raises(TypeError, match="weights: got 3, expected a path, a URL or 'imagenet'"):
        nn.load_weights(tiny(), 3)
    with pytest.raises(FileNotFoundError, match=r"weights: got .*none.pth', expected a file that exists"):
        nn.load_weights(tiny(), tmp_path / "none.pth")
    with pytest.raises(ValueError, match=r"weights: got .*a.h5', expected a file that ends in .pth, .pt"):
        nn.load_weights(tiny(), tmp_path / "a.h5")
    for make in (
        lambda: nn.load_weights(tiny(), "imagenet"),
        lambda: nn.vgg16_valid(width=0.1, weights="imagenet"),
    ):
        with pytest.raises(ValueError, match="weights: got 'imagenet', expected a path: none are published"):
            make()


@pytest.mark.parametrize("digits", [8, 64])
@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "old"])
def test_urls(trained, tmp_path, hub, capfd, digits, options):
    url = hashed(trained.state_dict(), tmp_path, digits=digits, **options)
    assert same(nn.load_weights(tiny(), url), trained)
    (file,) = hub.iterdir()
    Path(url.removeprefix("file://")).unlink()
    assert same(nn.load_weights(tiny(), url), trained)  # from the hub's folder
    out, err = capfd.readouterr()
    assert out == ""
    assert "Downloading" in err
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=rf"weights: got {file}, whose SHA-256 is not .*: delete it"):
        nn.load_weights(tiny(), url)


def test_urls_whose_files_are_others(trained, tmp_path, hub):
    path = save(trained.state_dict(), tmp_path / "tiny-0123abcd.pth")
    with pytest.raises(
        ValueError, match=r"tiny-0123abcd.pth, expected a file of weights: invalid hash value"
    ):
        nn.load_weights(tiny(), path.as_uri())
    assert list(hub.iterdir()) == []
    for name in (
        "tiny.pth",
        "tiny-0123abc.pth",
        "tiny-0123abcd.safetensors",
        "tiny-.pth",
        "a-.b-0123abcd.pth",
        "",
    ):
        with pytest.raises(ValueError, match=r"expected a .pth or .pt file with at least the first 8 digits"):
            nn.load_weights(tiny(), f"{tmp_path.as_uri()}/{name}")
    with pytest.raises(OSError, match=r"nothing-0123abcd.pth cannot be downloaded \(.*give the path"):
        nn.load_weights(tiny(), f"{tmp_path.as_uri()}/nothing-0123abcd.pth")


def test_urls_of_a_zip_with_a_file_elsewhere(trained, tmp_path, hub):
    """torch's hub unpacks a zip that holds one file; what it holds gets nowhere else."""
    content = io.BytesIO()
    torch.save(trained.state_dict(), content, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("../outside.pth", content.getvalue())
    found = hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()
    path = (tmp_path / "a").rename(tmp_path / f"a-{found[:8]}.pth")
    with pytest.raises((ValueError, OSError)):
        nn.load_weights(tiny(), path.as_uri())
    assert not (hub.parent / "outside.pth").exists()


def test_imagenet_files_are_torchvision_s():
    published = {
        nn.resnet18: "resnet18-f37072fd.pth",
        nn.resnet34: "resnet34-b627a593.pth",
        nn.resnet50: "resnet50-0676ba61.pth",
        nn.inception_v3: "inception_v3_google-0cc3c7bd.pth",
        nn.mobilenet_v2: "mobilenet_v2-b0353104.pth",
        nn.vgg16_valid: "vgg16-397923af.pth",
    }
    for make, name in published.items():
        network = make()
        assert network.published_weights == name
        if name.startswith("resnet"):
            assert digest(network) == KEYS[make.__name__]
    assert weights_module.PUBLISHED_AT == "https://download.pytorch.org/models/"
    assert nn.inception_v3(width=0.5).published_weights is None


def test_imagenet_downloads(tmp_path, hub, monkeypatch, caplog):
    """The whole way, from a folder in place of torchvision's server and its file in place of the real one."""
    torch.manual_seed(2)
    trained = nn.inception_v3(width=0.1)
    state = {**trained.state_dict(), **{key: torch.zeros(shape) for key, shape in AUXILIARY.items()}}
    name = hashed(state, tmp_path, "inception_v3_google").rpartition("/")[2]
    monkeypatch.setattr(weights_module, "PUBLISHED_AT", f"{tmp_path.as_uri()}/")
    network = nn.inception_v3(width=0.1, num_classes=2)
    network.published_weights = name
    with caplog.at_level(logging.INFO, logger="fastwsi"):
        nn.load_weights(network, "imagenet")
    assert torch.equal(network.Conv2d_1a_3x3.conv.weight, trained.Conv2d_1a_3x3.conv.weight)
    assert "dropped AuxLogits" in caplog.text
    assert "classifier fc has 1000 outputs and the network 2" in caplog.text
    assert [path.name for path in hub.iterdir()] == [name]


def test_resnets_take_weights(tmp_path):
    trained = nn.resnet18(num_classes=5)
    path = save(trained.state_dict(), tmp_path / "a.pth")
    assert same(nn.resnet18(5, weights=path), trained)
    with pytest.raises(ValueError, match=r"80 missing \(layer1.2.conv1.weight, "):
        nn.resnet34(5, weights=path)
    with pytest.raises(ValueError, match=r"conv1.weight \(64, 3, 7, 7\) for \(64, 4, 7, 7\)"):
        nn.resnet18(5, 4, weights=path)
    x = torch.randn(2, 3, 64, 64)
    trained.eval()
    assert trained.features(x).shape == (2, trained.num_features, 2, 2)
    torch.testing.assert_close(trained.fc(trained.embedding(x)), trained(x))


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (nn.resnet18(), (nn.IMAGENET_MEAN, nn.IMAGENET_STD), r"first convolution with padding \(3, 3\)"),
        (tnn.Linear(2, 2), (nn.IMAGENET_MEAN, nn.IMAGENET_STD), "goes to one convolution"),
        (tnn.Sequential(tnn.Conv2d(3, 4, 3, bias=False)), ((0,) * 3, (1,) * 3), "a bias or a batch norm"),
        (
            tnn.Sequential(tnn.Conv2d(3, 4, 3)),
            ((0,), (1, 1, 1)),
            "mean, std: got 1 and 3 numbers, expected 3",
        ),
        (tnn.Sequential(tnn.Conv2d(3, 4, 3)), ((0,) * 3, (1, 1, 0)), "std: got .*, expected numbers > 0"),
        (tnn.Sequential(tnn.Conv2d(3, 4, 3)), ((float("nan"),) * 3, (1,) * 3), "mean: got nan"),
        (tnn.Bilinear(3, 3, 3), ((0,) * 3, (1,) * 3), "network: "),
    ],
)
def test_networks_whose_scale_cannot_change(network, arguments, message):
    before = state_of(network)
    with pytest.raises(ValueError, match=message):
        nn.fold_normalisation(network, *arguments)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_file_is_not_loaded_where_its_scale_cannot_be(tmp_path):
    network, other = nn.resnet18(num_classes=2), nn.resnet18(num_classes=2)
    path = save(other.state_dict(), tmp_path / "a.pth")
    before = state_of(network)
    with pytest.raises(ValueError, match="first convolution with padding"):
        nn.load_weights(network, path, normalisation=(nn.IMAGENET_MEAN, nn.IMAGENET_STD))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
