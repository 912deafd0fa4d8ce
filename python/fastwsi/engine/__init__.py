"""From data sets and results to what is known of them: training, runs over many slides, evaluation."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastwsi.engine.evaluating import Evaluation, evaluate
    from fastwsi.engine.module import TrainingError
    from fastwsi.engine.optimisers import TensorFlowRMSProp
    from fastwsi.engine.recipe import Recipe, setting
    from fastwsi.engine.run_folder import RunFolder
    from fastwsi.engine.staging import evaluate_stages
    from fastwsi.engine.task import Task
    from fastwsi.engine.training import is_first_rank, train
    from fastwsi.engine.training_recipe import TrainingRecipe

# Imported when first used: Lightning takes seconds, and evaluation does without it.
_NAMES = {
    "Evaluation": "evaluating",
    "Recipe": "recipe",
    "RunFolder": "run_folder",
    "Task": "task",
    "TensorFlowRMSProp": "optimisers",
    "TrainingError": "module",
    "TrainingRecipe": "training_recipe",
    "evaluate": "evaluating",
    "evaluate_stages": "staging",
    "is_first_rank": "training",
    "setting": "recipe",
    "train": "training",
}

__all__ = [
    "Evaluation",
    "Recipe",
    "RunFolder",
    "Task",
    "TensorFlowRMSProp",
    "TrainingError",
    "TrainingRecipe",
    "evaluate",
    "evaluate_stages",
    "is_first_rank",
    "setting",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"fastwsi.engine.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'fastwsi.engine' has no attribute {name!r}")
