"""From data sets and results to what is known of them: runs over many slides."""

from fastwsi.engine.evaluating import Evaluation, evaluate
from fastwsi.engine.staging import evaluate_stages

__all__ = ["Evaluation", "evaluate", "evaluate_stages"]
