"""Recipes: checked, frozen, told."""

from __future__ import annotations

import json

import pytest

from fastwsi.engine import Recipe, TrainingRecipe, setting
from fastwsi.engine.recipe import parsed


class Inner(Recipe):
    depth: int = setting(3, "how deep", unit="layers", source="the paper", ge=1)


class Outer(Recipe):
    rate: float = setting(0.1, "how fast", gt=0)
    name: str = setting("", "a name")
    inner: Inner = Inner()


def test_settings_by_name():
    changed = Outer().changed(parsed(["rate=0.5", "inner.depth=7", "name=a=b"]))
    assert (changed.rate, changed.inner.depth, changed.name) == (0.5, 7, "a=b")
    assert Outer().rate == 0.1


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["rte=0.5"], "rte: no such setting; near it there is rate"),
        (["inner.depht=1"], r"inner.depht: no such setting; near it there is inner\.depth"),
        (["rate=fast"], "rate: got 'fast'"),
        (["rate=-1"], "rate: got -1: Input should be greater than 0"),
        (["rate"], "--set: got 'rate', expected name=value"),
        (["rate=[1"], "rate: got '\\[1', which is no YAML value"),
    ],
)
def test_wrong_settings_are_named(pairs, message):
    with pytest.raises(ValueError, match=message):
        Outer().changed(parsed(pairs))


def test_files(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("rate: 2\ninner: {depth: 5}\n")
    found = Outer.from_file(path)
    assert (found.rate, found.inner.depth) == (2, 5)
    path.write_text(found.to_json())
    assert Outer.from_file(path) == found
    path.write_text("")
    assert Outer.from_file(path) == Outer()
    for text, message in (
        ("- 1", "expected names and values"),
        ("{", "no YAML"),
        ("speed: 1", "speed: got 1"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            Outer.from_file(path)


def test_fingerprints_and_rows():
    assert Outer().fingerprint == Outer(rate=0.1).fingerprint != Outer(rate=0.2).fingerprint
    rows = Outer().changed({"inner.depth": 4}).rows()
    assert rows[-1] == {
        "name": "inner.depth",
        "value": "4",
        "unit": "layers",
        "source": "the paper",
        "what": "how deep",
    }
    with pytest.raises(ValueError, match="frozen"):
        Outer().rate = 3


def test_numbers_as_they_are_typed():
    assert TrainingRecipe().changed(parsed(["precision=16"])).precision == "16"
    with pytest.raises(ValueError, match="checkpoint_minutes: got inf"):
        TrainingRecipe().changed(parsed(["checkpoint_minutes=.inf"]))


def test_every_training_setting_says_what_it_is():
    rows = TrainingRecipe().rows()
    assert all(row["what"] for row in rows)
    assert json.loads(TrainingRecipe().to_json())["batch_size"] == 32
