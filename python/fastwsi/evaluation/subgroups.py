"""Each group of positives against all negatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _numbers
from fastwsi.evaluation.columns import cells, in_order, text_table
from fastwsi.evaluation.delong import delong_interval
from fastwsi.evaluation.intervals import Interval, wilson_interval
from fastwsi.evaluation.results import Result
from fastwsi.evaluation.roc import Flags, Floats, check_scores

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike


@dataclass(frozen=True, repr=False)
class Subgroup(Result):
    """One group of positives against all negatives.

    Attributes
    ----------
    group : str, int, float or bool
    positives, negatives : int
    auc : Interval
        DeLong's.
    recall : Interval or None
        Share of the group that the threshold finds, with Wilson's bounds; None without a threshold.

    Examples
    --------
    >>> subgroup_auc([0, 0, 1, 1], [0.1, 0.5, 0.4, 0.7], ["", "", "a", "a"])["a"].positives
    2
    """

    group: Any
    positives: int
    negatives: int
    auc: Interval
    recall: Interval | None = None

    def rows(self) -> list[dict[str, Any]]:
        """Return one row; ``low`` and ``high`` are the bounds of the area."""
        plain = self.to_dict()
        row = {name: plain[name] for name in ("group", "positives", "negatives")}
        auc, recall = plain["auc"], plain["recall"]
        row |= {"auc": auc["estimate"], **{name: auc[name] for name in ("low", "high", "confidence", "note")}}
        if recall:
            row |= {"recall": recall["estimate"], "recall_low": recall["low"], "recall_high": recall["high"]}
        return [row]

    def __str__(self) -> str:
        found = "" if self.recall is None else f", recall {self.recall}"
        return f"{self.group}: {self.positives} against {self.negatives}, AUC {self.auc}{found}"


@dataclass(frozen=True, repr=False)
class Subgroups(Result):
    """The groups of the positives, each against all negatives.

    Attributes
    ----------
    groups : tuple of Subgroup
        In the order of their names.
    ungrouped : int
        Positives without a group, which are in none of them.
    threshold : float or None

    Examples
    --------
    >>> found = subgroup_auc([0, 0, 1, 1], [0.1, 0.5, 0.4, 0.7], ["", "", "a", ""])
    >>> found.ungrouped, found["a"].auc
    (1, <Interval 0.5000, interval not estimable (95% DeLong; one positive)>)
    """

    groups: tuple[Subgroup, ...]
    ungrouped: int
    threshold: float | None = None

    def __getitem__(self, group: Any) -> Subgroup:
        for each in self.groups:
            if each.group == group:
                return each
        raise KeyError(group)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each group."""
        return [row for each in self.groups for row in each.rows()]

    def __str__(self) -> str:
        recall = [] if self.threshold is None else [f"recall at {self.threshold:g}"]
        table = [["group", "positives", "negatives", "AUC", "interval", *recall]]
        for each in self.groups:
            spans = [each.auc, *([each.recall] if each.recall else [])]
            texts = [_number(each.auc), _span(each.auc), *(f"{_number(s)} {_span(s)}" for s in spans[1:])]
            table.append([str(each.group), str(each.positives), str(each.negatives), *texts])
        left_out = f", {self.ungrouped} positives without a group" if self.ungrouped else ""
        return f"{len(self.groups)} groups{left_out}\n{text_table(table)}"


def subgroup_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Iterable[Any],
    *,
    confidence: float = 0.95,
    method: Literal["normal", "logit"] = "normal",
    threshold: float | None = None,
) -> Subgroups:
    """Return the area under the ROC curve for each group of the positives against all negatives.

    So Chuang et al. (2021) tell how well metastases of each size are found.

    Parameters
    ----------
    labels : (N,)
        0 or 1, or bool; numpy array, list or torch tensor on the CPU.
    scores : (N,)
        Finite; higher for positives.
    groups : (N,)
        Any column of texts, numbers or bools. What it says of negatives is not looked at. Positives with
        None, NaN or "" are in no group, and counted.
    confidence : float
    method : {"normal", "logit"}
        As for `delong_interval`.
    threshold : float, optional
        Adds each group's recall: the share of it that scores at least this.

    Returns
    -------
    Subgroups
        A group of one has an area without an interval.

    Examples
    --------
    >>> labels, scores = [0, 0, 0, 1, 1, 1, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.8, 0.9, 0.7, 0.2]
    >>> sizes = ["", "", "", "micro", "macro", "macro", "micro", "ITC"]
    >>> found = subgroup_auc(labels, scores, sizes)
    >>> found
    <Subgroups 3 groups
    group  positives  negatives     AUC          interval
    ITC            1          3  0.3333     not estimable
    macro          2          3  1.0000     uninformative
    micro          2          3  0.8333  [0.3714, 1.0000]>
    >>> found["micro"].auc
    <Interval 0.8333 [0.3714, 1.0000] (95% DeLong)>
    """
    flags, values = check_scores(labels, scores)
    limit = None if threshold is None else _numbers.finite(threshold, "threshold")
    column = cells(groups, "groups")
    if len(column) != len(flags):
        raise ValueError(f"groups: got {len(column)} values, expected {len(flags)}, one for each label")
    members: dict[Any, list[int]] = {}
    for k in np.flatnonzero(flags).tolist():
        members.setdefault(column[k], []).append(k)
    ungrouped = len(members.pop(None, []))
    negatives = values[~flags]
    found = []
    for group in in_order(members):
        positives = values[members[group]]
        auc = delong_interval(*_beside(negatives, positives), confidence=confidence, method=method)
        recall = None
        if limit is not None:
            hits = int((positives >= limit).sum())
            recall = wilson_interval(hits, len(positives), confidence=confidence)
        found.append(Subgroup(group, len(positives), len(negatives), auc, recall))
    return Subgroups(tuple(found), ungrouped, limit)


def _beside(negatives: Floats, positives: Floats) -> tuple[Flags, Floats]:
    flags = np.arange(len(negatives) + len(positives)) >= len(negatives)
    return flags, np.concatenate([negatives, positives])


def _number(interval: Interval) -> str:
    return "-" if math.isnan(interval.estimate) else f"{interval.estimate:.4f}"


def _span(interval: Interval) -> str:
    if not interval.estimable:
        return "not estimable"
    if interval.low == interval.high:
        return "uninformative"
    return f"[{interval.low:.4f}, {interval.high:.4f}]"
