"""Every example in a docstring runs, and shows what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import fastwsi


def modules() -> list[str]:
    found = [m.name for m in pkgutil.walk_packages(fastwsi.__path__, "fastwsi.")]
    return ["fastwsi", *(name for name in found if not name.endswith(("_core", "__main__")))]


@pytest.mark.parametrize("name", modules())
def test_examples(name):
    module = importlib.import_module(name)
    globs = {**vars(module), "fastwsi": fastwsi, "np": np}
    result = doctest.testmod(module, extraglobs=globs, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


@pytest.mark.parametrize(
    "name", ["fastwsi", "fastwsi.augment", "fastwsi.kernels", "fastwsi.nn", "fastwsi.stain"]
)
def test_public_functions_and_classes_have_an_example(name):
    module = importlib.import_module(name)
    lacking = [
        f"{name}.{public}"
        for public in module.__all__
        if callable(getattr(module, public)) and ">>>" not in (getattr(module, public).__doc__ or "")
    ]
    assert lacking == []
