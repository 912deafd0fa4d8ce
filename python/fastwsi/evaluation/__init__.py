"""From arrays to numbers: FROC, ROC, intervals, kappa, staging and the shapes of lesions."""

from fastwsi.evaluation.froc import FP_RATES, Froc, FrocWarning, froc
from fastwsi.evaluation.froc_bootstrap import FrocInterval, froc_interval
from fastwsi.evaluation.intervals import Interval, wilson_interval
from fastwsi.evaluation.lesions import Lesions, label_lesions
from fastwsi.evaluation.matching import SlideMatch, match_detections
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.sizes import size_class

__all__ = [
    "FP_RATES",
    "Froc",
    "FrocInterval",
    "FrocWarning",
    "Interval",
    "Lesions",
    "Result",
    "SlideMatch",
    "froc",
    "froc_interval",
    "label_lesions",
    "match_detections",
    "size_class",
    "wilson_interval",
]
