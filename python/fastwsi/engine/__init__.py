"""From data sets and results to what is known of them: training, runs over many slides, evaluation."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastwsi.engine.cells import CellGrid
    from fastwsi.engine.evaluating import Evaluation, evaluate
    from fastwsi.engine.exporting import Exported, export_camelyon16
    from fastwsi.engine.likelihood_map import LikelihoodMap, read_likelihood_map, write_likelihood_map
    from fastwsi.engine.module import TrainingError
    from fastwsi.engine.optimisers import TensorFlowRMSProp
    from fastwsi.engine.overlay import draw_overlay
    from fastwsi.engine.patch_input import PatchInput
    from fastwsi.engine.qupath import write_detections_geojson
    from fastwsi.engine.recipe import Recipe, setting
    from fastwsi.engine.run_folder import RunFolder
    from fastwsi.engine.scanning.predicting import predict
    from fastwsi.engine.scanning.run import Predicted, predict_slides
    from fastwsi.engine.scanning.scan import PatchModel, Scan, scan
    from fastwsi.engine.scanning.scan_recipe import ScanRecipe
    from fastwsi.engine.slide_result import SlideResult
    from fastwsi.engine.staging import evaluate_stages
    from fastwsi.engine.task import Task
    from fastwsi.engine.training import is_first_rank, train
    from fastwsi.engine.training_recipe import TrainingRecipe

# Imported when first used: Lightning takes seconds, and evaluation does without it.
_NAMES = {
    "CellGrid": "cells",
    "Evaluation": "evaluating",
    "Exported": "exporting",
    "LikelihoodMap": "likelihood_map",
    "PatchInput": "patch_input",
    "PatchModel": "scanning.scan",
    "Predicted": "scanning.run",
    "Recipe": "recipe",
    "RunFolder": "run_folder",
    "Scan": "scanning.scan",
    "ScanRecipe": "scanning.scan_recipe",
    "SlideResult": "slide_result",
    "Task": "task",
    "TensorFlowRMSProp": "optimisers",
    "TrainingError": "module",
    "TrainingRecipe": "training_recipe",
    "draw_overlay": "overlay",
    "evaluate": "evaluating",
    "evaluate_stages": "staging",
    "export_camelyon16": "exporting",
    "is_first_rank": "training",
    "predict": "scanning.predicting",
    "predict_slides": "scanning.run",
    "read_likelihood_map": "likelihood_map",
    "scan": "scanning.scan",
    "setting": "recipe",
    "train": "training",
    "write_detections_geojson": "qupath",
    "write_likelihood_map": "likelihood_map",
}

__all__ = [
    "CellGrid",
    "Evaluation",
    "Exported",
    "LikelihoodMap",
    "PatchInput",
    "PatchModel",
    "Predicted",
    "Recipe",
    "RunFolder",
    "Scan",
    "ScanRecipe",
    "SlideResult",
    "Task",
    "TensorFlowRMSProp",
    "TrainingError",
    "TrainingRecipe",
    "draw_overlay",
    "evaluate",
    "evaluate_stages",
    "export_camelyon16",
    "is_first_rank",
    "predict",
    "predict_slides",
    "read_likelihood_map",
    "scan",
    "setting",
    "train",
    "write_detections_geojson",
    "write_likelihood_map",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"fastwsi.engine.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'fastwsi.engine' has no attribute {name!r}")
