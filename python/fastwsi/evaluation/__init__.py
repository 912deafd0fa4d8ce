"""From arrays to numbers: FROC, ROC, intervals, kappa, staging and the shapes of lesions."""

from fastwsi.evaluation.bootstrap import Bootstrap, bootstrap_interval, paired_bootstrap
from fastwsi.evaluation.classification import (
    BinaryMetrics,
    Confusion,
    OperatingPoint,
    binary_metrics,
    confusion_matrix,
    operating_point,
)
from fastwsi.evaluation.delong import AucTest, PairedAuc, delong_interval, delong_test, paired_delong
from fastwsi.evaluation.froc import FP_RATES, Froc, FrocWarning, froc
from fastwsi.evaluation.froc_bootstrap import FrocInterval, froc_interval
from fastwsi.evaluation.intervals import Interval, wilson_interval
from fastwsi.evaluation.kappa import PatientKappa, quadratic_kappa_score, score_patients
from fastwsi.evaluation.lesions import Lesions, label_lesions
from fastwsi.evaluation.matching import SlideMatch, match_detections
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.roc import Roc, roc_auc_score, roc_curve
from fastwsi.evaluation.shapes import Shape, Shapes, lesion_shapes
from fastwsi.evaluation.sizes import size_class
from fastwsi.evaluation.slide_features import SlideFeatures, slide_features
from fastwsi.evaluation.staging import PATIENT_STAGES, SLIDE_STAGES, pn_stage, stage_patients
from fastwsi.evaluation.subgroups import Subgroup, Subgroups, subgroup_auc

__all__ = [
    "FP_RATES",
    "PATIENT_STAGES",
    "SLIDE_STAGES",
    "AucTest",
    "BinaryMetrics",
    "Bootstrap",
    "Confusion",
    "Froc",
    "FrocInterval",
    "FrocWarning",
    "Interval",
    "Lesions",
    "OperatingPoint",
    "PairedAuc",
    "PatientKappa",
    "Result",
    "Roc",
    "Shape",
    "Shapes",
    "SlideFeatures",
    "SlideMatch",
    "Subgroup",
    "Subgroups",
    "binary_metrics",
    "bootstrap_interval",
    "confusion_matrix",
    "delong_interval",
    "delong_test",
    "froc",
    "froc_interval",
    "label_lesions",
    "lesion_shapes",
    "match_detections",
    "operating_point",
    "paired_bootstrap",
    "paired_delong",
    "pn_stage",
    "quadratic_kappa_score",
    "roc_auc_score",
    "roc_curve",
    "score_patients",
    "size_class",
    "slide_features",
    "stage_patients",
    "subgroup_auc",
    "wilson_interval",
]
