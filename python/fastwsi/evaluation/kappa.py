"""Agreement on an ordered scale beyond chance: Cohen's kappa with quadratic weights."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.bootstrap import Bootstrap
from fastwsi.evaluation.intervals import check_confidence
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.staging import PATIENT_STAGES, SLIDE_STAGES, node_of

if TYPE_CHECKING:
    Counts = np.ndarray[Any, np.dtype[np.int64]]

_SHOWN = 8  # names in a line; the fields have them all


def quadratic_kappa_score(
    truth: Iterable[Hashable], predicted: Iterable[Hashable], labels: Iterable[Hashable]
) -> float:
    """Return Cohen's kappa with quadratic weights: 1 for agreement, 0 for that of chance, down to -1.

    A disagreement counts as the square of the distance between the two labels' places in ``labels``; kappa
    is 1 less the sum of these over what it would be by chance, had both sides' labels been shuffled.

    Where both sides have one and the same class throughout, chance expects no disagreement and there is
    none: 0 / 0. We return 1.0, since that is what kappa is wherever nobody disagrees; scikit-learn returns
    NaN. It says little: a constant answer got it.

    Parameters
    ----------
    truth, predicted : sequence of hashable, length n >= 1
        The labels of the same cases in the same order: texts, numbers, arrays of these.
    labels : sequence of hashable, at least 2
        All the classes, in their order, whether they occur or not: one that never occurs still keeps the
        others apart. A value outside of them is an error that names it.

    Returns
    -------
    float

    Examples
    --------
    >>> quadratic_kappa_score([0, 1, 2, 2], [0, 1, 2, 1], labels=[0, 1, 2])
    0.8
    >>> quadratic_kappa_score(["low", "low"], ["low", "high"], labels=["low", "middle", "high"])
    0.0
    """
    places = _places(labels)
    return _kappa(_table(_listed(truth, "truth"), _listed(predicted, "predicted"), places))


@dataclass(frozen=True, repr=False)
class PatientKappa(Result):
    """Quadratic weighted kappa over patients, and of whom.

    Attributes
    ----------
    kappa : float
    interval : Bootstrap or None
        By bootstrap over patients; None where no replicates were asked for.
    patients : int
        How many were scored.
    labels : tuple of str
        The stages in their order.
    table : tuple of tuples of int
        ``table[i][j]`` patients have the stage ``labels[i]`` and were given ``labels[j]``.
    missing : tuple of str
        Patients who have a stage and were given none.
    missing_as : str
        What became of them: "error" (then there are none), "worst" or "drop".
    extra : tuple of str
        Patients who were given a stage and have none: not scored.

    Examples
    --------
    >>> truth = {"patient_000": "pN0", "patient_001": "pN1", "patient_002": "pN2"}
    >>> found = score_patients(truth, {"patient_000": "pN0", "patient_001": "pN2"}, missing="drop")
    >>> round(found.kappa, 3), found.patients, found.missing, found.table[3]
    (0.923, 2, ('patient_002',), (0, 0, 0, 0, 1))
    """

    kappa: float
    interval: Bootstrap | None
    patients: int
    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    missing: tuple[str, ...]
    missing_as: str
    extra: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.kappa:.4f}" if self.interval is None else str(self.interval)
        text += f", {self.patients} patient{'s' if self.patients != 1 else ''}"
        if self.missing:
            what = "dropped as missing" if self.missing_as == "drop" else "missing, taken for the worst"
            text += f"; {what}: {_names(self.missing)}"
        if self.extra:
            text += f"; not asked for: {_names(self.extra)}"
        return text

    def rows(self) -> list[dict[str, Any]]:
        """Return one row: kappa, its interval and how many patients."""
        low, high = (None, None) if self.interval is None else (self.interval.low, self.interval.high)
        counts = {"patients": self.patients, "missing": len(self.missing), "extra": len(self.extra)}
        return [{"kappa": self.kappa, "low": low, "high": high, **counts}]


def score_patients(
    truth: Mapping[str, str],
    predicted: Mapping[str, str],
    labels: Iterable[str] = PATIENT_STAGES,
    *,
    missing: Literal["error", "worst", "drop"] = "error",
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PatientKappa:
    """Score patients' stages as Camelyon17 does: by quadratic weighted kappa; see `quadratic_kappa_score`.

    Parameters
    ----------
    truth, predicted : mapping of str to str
        Each patient's stage. Stages of slides among them ("patient_000_node_0": "micro"), as Camelyon17's
        tables have them, are passed over.
    labels : sequence of str
        All the stages in their order.
    missing : "error", "worst" or "drop"
        What becomes of patients who have a stage and were given none: a ValueError that names them, as
        Camelyon17 has it; the stage farthest from theirs; or they are left out, which makes the number one
        of fewer patients.
    replicates : int
        Of the bootstrap over patients, whose percentiles are the interval. 0: no interval. Fewer than a few
        hundred say little.
    confidence : float
    seed : int
        Of the bootstrap: the same one gives the same interval.

    Returns
    -------
    PatientKappa
        With the confusion table, and the missing and extra patients by name.

    Examples
    --------
    >>> truth = {"patient_000": "pN0", "patient_001": "pN1", "patient_002": "pN2"}
    >>> found = score_patients(truth, truth | {"patient_002": "pN1"}, replicates=0)
    >>> found
    <PatientKappa 0.9333, 3 patients>
    >>> found.table[4]
    (0, 0, 0, 1, 0)
    """
    if missing not in ("error", "worst", "drop"):
        raise ValueError(f"missing: got {missing!r}, expected 'error', 'worst' or 'drop'")
    count, start = _numbers.whole(replicates, "replicates", 0), _numbers.whole(seed, "seed", 0)
    check_confidence(confidence)
    places = _places(labels)
    known = _patients(truth, "truth", places)
    given = _patients(predicted, "predicted", places)
    lacking = tuple(sorted(known.keys() - given.keys()))
    if lacking and missing == "error":
        raise ValueError(
            f"predicted: got no stage of {', '.join(lacking)}, expected one of each patient; "
            "missing='worst' or 'drop' scores the others"
        )
    names = sorted(known.keys() - (set(lacking) if missing == "drop" else set()))
    if not names:
        told = "none" if not known else f"none of the {len(known)} in predicted"
        raise ValueError(f"truth: got {told}, expected one patient at least")
    stages = tuple(places)
    given |= {name: _farthest(known[name], stages) for name in lacking}
    table = _table([known[name] for name in names], [given[name] for name in names], places)
    kappa = _kappa(table)
    return PatientKappa(
        kappa=kappa,
        interval=_bootstrap(table, kappa, count, confidence, start) if count else None,
        patients=len(names),
        labels=stages,
        table=tuple(map(tuple, table.tolist())),
        missing=lacking,
        missing_as=missing,
        extra=tuple(sorted(given.keys() - known.keys())),
    )


def _kappa(table: Counts) -> float:
    """Return the kappa of a confusion table; of whole numbers until the last division."""
    numerator, expected = (int(each[0]) for each in _sums(table[None]))
    return 1.0 if expected == 0 else 1 - numerator / expected


def _sums(tables: Counts) -> tuple[Counts, Counts]:
    """Return n times the weighted disagreement, and n² times that by chance, of each table."""
    places = np.arange(tables.shape[-1], dtype=np.int64)
    weights = (places[:, None] - places) ** 2
    observed = (tables * weights).sum((1, 2)) * tables.sum((1, 2))
    rows, columns = tables.sum(2), tables.sum(1)
    return observed, ((rows @ weights) * columns).sum(1)


def _bootstrap(table: Counts, kappa: float, replicates: int, confidence: float, seed: int) -> Bootstrap:
    """Return the percentile interval of kappa over resampled patients.

    To draw n patients with replacement is to draw the counts of the table's cells, all at once.
    """
    n = int(table.sum())
    cells = np.flatnonzero(table)
    drawn = np.zeros((replicates, table.size), np.int64)
    drawn[:, cells] = np.random.default_rng(seed).multinomial(n, table.ravel()[cells] / n, replicates)
    observed, expected = _sums(drawn.reshape(replicates, *table.shape))
    one_class = expected == 0
    kappas = 1 - np.where(one_class, 0, observed) / np.where(one_class, 1, expected)
    low, high = np.quantile(kappas, [(1 - confidence) / 2, (1 + confidence) / 2])
    notes = [f"{one_class.sum()} of {replicates} resamples have one class only and count as 1"]
    if not one_class.any():
        notes.clear()
    if kappas.min() == kappas.max():
        notes.append("all resamples agree, so the interval is uninformative")
    return Bootstrap(
        kappa, float(low), float(high), confidence, "bootstrap", "; ".join(notes), replicates, seed=seed
    )


def _places(labels: Iterable[Any]) -> dict[Any, int]:
    """Return the place of each label."""
    listed = _listed(labels, "labels")
    places: dict[Any, int] = {}
    for label in listed:
        try:
            used = places.setdefault(label, len(places))
        except TypeError:
            raise TypeError(f"labels: got {label!r}, expected values that can be dictionary keys") from None
        if used != len(places) - 1:
            raise ValueError(f"labels: got {label!r} twice, expected each class once")
    if len(places) < 2:
        raise ValueError(f"labels: got {listed!r}, expected two classes at least")
    return places


def _table(truth: list[Any], predicted: list[Any], places: Mapping[Any, int]) -> Counts:
    """Count the cases of each pair of classes: truth down, predicted across."""
    if len(truth) != len(predicted):
        raise ValueError(f"predicted: got {len(predicted)} values, expected {len(truth)}, as truth has")
    if not truth:
        raise ValueError("truth: got no values, expected one at least")
    rows = [_place(value, "truth", places) for value in truth]
    columns = [_place(value, "predicted", places) for value in predicted]
    size = len(places)
    cells = np.asarray(rows, np.int64) * size + np.asarray(columns, np.int64)
    return np.bincount(cells, minlength=size * size).reshape(size, size).astype(np.int64)


def _place(value: Any, name: str, places: Mapping[Any, int]) -> int:
    try:
        return places[value]
    except (KeyError, TypeError):  # a TypeError where it has no hash
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, places))}") from None


def _listed(values: Any, name: str) -> list[Any]:
    """Return values as a list, those of arrays as Python's own, which equal labels of any kind of number."""
    if isinstance(values, str | bytes | set | frozenset | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"{name}: got {type(values).__name__}, expected a sequence of labels in their order")
    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    if not isinstance(listed, list):
        raise TypeError(f"{name}: got a single value, expected a sequence of labels")
    return listed


def _patients(stages: Any, name: str, places: Mapping[Any, int]) -> dict[str, str]:
    """Return the entries that are of patients, their stages checked."""
    if not isinstance(stages, Mapping):
        raise TypeError(f"{name}: got {type(stages).__name__}, expected a mapping of patients to stages")
    found = {}
    for patient, stage in stages.items():
        if node_of(patient) and stage in SLIDE_STAGES:
            continue
        _place(stage, f"{name}[{patient!r}]", places)
        found[patient] = stage
    return found


def _farthest(stage: str, stages: tuple[str, ...]) -> str:
    """Return the end of the scale that is farther away; of two as far the upper."""
    return stages[0] if stages.index(stage) > (len(stages) - 1) / 2 else stages[-1]


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
