"""An undisturbed run, which others are held against."""

from __future__ import annotations

import pytest

from engine.small_task import CPU, SmallTask, recipe
from fastwsi.engine import train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    task = SmallTask(recipe())
    train(task, folder, **CPU)
    return folder, task
