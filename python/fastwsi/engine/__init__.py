"""From data sets and results to what is known of them: training, runs over many slides, evaluation."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastwsi.engine.evaluating import Evaluation, evaluate
    from fastwsi.engine.module import TrainingError
    from fastwsi.engine.optimisers import TensorFlowRMSProp
    from fastwsi.engine.patch_input import PatchInput
    from fastwsi.engine.recipe import Recipe, setting
    from fastwsi.engine.run_folder import RunFolder
    from fastwsi.engine.scanning.scan import PatchModel, Scan, scan
    from fastwsi.engine.staging import evaluate_stages
    from fastwsi.engine.task import Task
    from fastwsi.engine.training import is_first_rank, train
    from fastwsi.engine.training_recipe import TrainingRecipe

# Imported when first used: Lightning takes seconds, and evaluation does without it.
_NAMES = {
    "Evaluation": "evaluating",
    "PatchInput": "patch_input",
    "PatchModel": "scanning.scan",
    "Recipe": "recipe",
    "RunFolder": "run_folder",
    "Scan": "scanning.scan",
    "Task": "task",
    "TensorFlowRMSProp": "optimisers",
    "TrainingError": "module",
    "TrainingRecipe": "training_recipe",
    "evaluate": "evaluating",
    "evaluate_stages": "staging",
    "is_first_rank": "training",
    "scan": "scanning.scan",
    "setting": "recipe",
    "train": "training",
}

__all__ = [
    "Evaluation",
    "PatchInput",
    "PatchModel",
    "Recipe",
    "RunFolder",
    "Scan",
    "Task",
    "TensorFlowRMSProp",
    "TrainingError",
    "TrainingRecipe",
    "evaluate",
    "evaluate_stages",
    "is_first_rank",
    "scan",
    "setting",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"fastwsi.engine.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'fastwsi.engine' has no attribute {name!r}")
