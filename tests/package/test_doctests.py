"""Every example in a docstring runs, and shows what it says."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from typing import Any

import numpy as np
import pytest

import fastwsi


def modules() -> list[str]:
    found = [m.name for m in pkgutil.walk_packages(fastwsi.__path__, "fastwsi.")]
    return ["fastwsi", *(name for name in found if not name.endswith(("_core", "__main__")))]


class Finder(doctest.DocTestFinder):
    """Finds the examples of decorated functions too, which would pass for those of the decorator's module."""

    def _from_module(self, module: Any, item: Any) -> bool:
        return super()._from_module(module, inspect.unwrap(item) if inspect.isfunction(item) else item)


@pytest.mark.parametrize("name", modules())
def test_examples(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in Finder().find(module, name, extraglobs={"fastwsi": fastwsi, "np": np}):
        runner.run(test)
    assert runner.failures == 0


def test_examples_of_decorated_functions_are_found():
    found = {test.name for test in Finder(exclude_empty=True).find(fastwsi.kernels.stitch_sums)}
    assert "fastwsi.kernels.stitch_sums.accumulate" in found


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
