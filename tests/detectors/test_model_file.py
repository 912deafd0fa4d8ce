"""Model files: whole, checked, and never executed."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from fastwsi import detectors
from fastwsi.detectors import Liu2017
from fastwsi.detectors.model_file import read_model, write_model

SMALL = Liu2017.recipes["liu2017-small"].changed({"patch": 107, "centre": 32, "seed": 3})
GOOD = {
    "format": "fastwsi",
    "version": "1",
    "system": "liu2017",
    "recipe": SMALL.to_json(),
    "fastwsi": "0.1.0",
}


def test_there_and_back(tmp_path):
    made = Liu2017(SMALL)
    made.save(tmp_path / "a.safetensors")
    for again in (Liu2017.load(tmp_path / "a.safetensors"), detectors.load(tmp_path / "a.safetensors")):
        assert again.recipe == SMALL
        for name, value in made.network.state_dict().items():
            assert torch.equal(again.network.state_dict()[name], value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_same_model_is_the_same_bytes(tmp_path):
    weights = {"b": torch.arange(5, dtype=torch.int64), "a": torch.full((3, 2), 0.5, dtype=torch.float16)}
    for number in range(8):
        write_model(
            tmp_path / f"{number}.safetensors", "liu2017", {"k": "µ"}, weights, {"more": "ä", "x": "y"}
        )
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    found = read_model(tmp_path / "0.safetensors")
    assert (found.recipe, found.more) == ({"k": "µ"}, {"more": "ä", "x": "y"})
    for name, value in weights.items():
        assert torch.equal(found.weights[name], value)


def tampered(tmp_path, **changes):
    told = {**GOOD, **changes}
    told = {key: value for key, value in told.items() if value is not None}
    save_file(Liu2017(SMALL).network.state_dict(), tmp_path / "a.safetensors", metadata=told)
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "no model of fastwsi"),
        ({"format": None}, "no model of fastwsi"),
        ({"version": "9"}, "got format version '9', expected 1"),
        ({"recipe": "{"}, "its settings are no JSON"),
        ({"recipe": "[" * 100_000}, "its settings are no JSON"),
        ({"recipe": "[1]"}, "its system or settings are not what a model has"),
        ({"recipe": json.dumps({"width": 0.1, "run": "rm -rf"})}, "run: got 'rm -rf'"),
        ({"recipe": json.dumps({"width": -1})}, "width: got -1"),
        ({"recipe": json.dumps({"width": 0.2})}, "tensors do not fit its recipe"),
        ({"system": "os.system"}, "its system or settings are not what a model has"),
        ({"system": "chuang"}, "holds the detector 'chuang', expected 'liu2017'"),
        ({"pickle": "gASV"}, "got unknown metadata pickle"),
        ({"junk": "x" * (1 << 21)}, "characters of metadata, expected at most"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        Liu2017.load(tampered(tmp_path, **changes))


def test_a_file_that_claims_a_giant(tmp_path):
    """Its tensors are compared before anything of that size is made."""
    with pytest.raises(ValueError, match="tensors do not fit its recipe"):
        Liu2017.load(tampered(tmp_path, recipe=json.dumps({"width": 8})))
    with pytest.raises(ValueError, match="width: got 400"):
        Liu2017.load(tampered(tmp_path, recipe=json.dumps({"width": 400})))
    with pytest.raises(ValueError, match="mpp: got 60000 resolutions, expected 8 at most"):
        Liu2017.load(tampered(tmp_path, recipe=json.dumps({"width": 0.1, "mpp": list(range(1, 60_001))})))


def test_weights_that_are_no_numbers(tmp_path):
    made = Liu2017(Liu2017.recipes["liu2017-small"])
    with torch.no_grad():
        made.network.fc.weight[0, 0] = float("nan")
    made.save(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"1 tensors hold values that are no numbers: fc\.weight"):
        Liu2017.load(tmp_path / "a.safetensors")


def test_hsd_without_a_reference(tmp_path):
    made = Liu2017(Liu2017.recipes["liu2017-small"].changed({"hsd": True}))
    with pytest.raises(ValueError, match="hsd: got no reference to normalise to"):
        made.save(tmp_path / "a.safetensors")


class Trap:
    def __reduce__(self):
        return pytest.fail, ("executed",)


def test_other_files(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_model(path)
    for content in (b"", b"\xff" * 100, pickle.dumps(Trap())):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no safetensors file that can be read"):
            read_model(path)
    with pytest.raises(ValueError, match=r"expected a name that ends in \.safetensors"):
        write_model(tmp_path / "a.pt", "liu2017", {}, {})


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.safetensors"
    Liu2017(SMALL).save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_model(path, "liu2017", {"x": float("nan")}, {})
    assert path.read_bytes() == before
