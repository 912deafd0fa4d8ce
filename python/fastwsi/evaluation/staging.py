"""From the stages of slides to the pN stage of a patient, by the rules of Camelyon17."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fastwsi import _numbers

SLIDE_STAGES = ("negative", "itc", "micro", "macro")
PATIENT_STAGES = ("pN0", "pN0(i+)", "pN1mi", "pN1", "pN2")

_MOST_POSITIVE = 9  # from ten positive nodes on it is pN3, which Camelyon17 does not have
_NODE = re.compile(r"(.+)_node_(\d+)", re.DOTALL)


def pn_stage(slide_labels: Iterable[str], *, nodes: int | None = 5) -> str:
    """Return the pN stage of a patient from the stages of the slides, one of each lymph node.

    A node is positive with a micro- or a macrometastasis; isolated tumour cells (ITC) alone do not make it
    so. Without positive nodes the stage is pN0, or pN0(i+) where there are isolated tumour cells. Positive
    nodes without a macrometastasis are pN1mi, however many they are. With one at least, 1 to 3 positive
    nodes are pN1, 4 to 9 are pN2.

    Parameters
    ----------
    slide_labels : iterable of str
        Of `SLIDE_STAGES`; "normal" is another word for "negative". Capitals do not matter, nor does order.
    nodes : int, optional
        How many there must be: 5 in Camelyon17. None takes any number of nodes but none.

    Returns
    -------
    str
        One of `PATIENT_STAGES`. Ten positive nodes with a macrometastasis would be pN3, which these lack:
        ValueError.

    Examples
    --------
    >>> pn_stage(["negative", "itc", "negative", "micro", "macro"])
    'pN1'
    >>> pn_stage(["micro"] * 5), pn_stage(["ITC", "normal", "normal"], nodes=None)
    ('pN1mi', 'pN0(i+)')
    """
    if isinstance(slide_labels, str | bytes | set | frozenset | Mapping) or not isinstance(
        slide_labels, Iterable
    ):
        raise TypeError(f"slide_labels: got {slide_labels!r}, expected a list of {', '.join(SLIDE_STAGES)}")
    stages = [_slide_stage(label, "slide_labels") for label in slide_labels]
    if nodes is not None and len(stages) != _numbers.whole(nodes, "nodes", 1):
        raise ValueError(f"slide_labels: got {len(stages)} of them, expected {nodes}")
    if not stages:
        raise ValueError("slide_labels: got none, expected the stage of one slide at least")
    positive = stages.count("micro") + stages.count("macro")
    if positive == 0:
        return "pN0(i+)" if "itc" in stages else "pN0"
    if "macro" not in stages:
        return "pN1mi"
    if positive > _MOST_POSITIVE:
        raise ValueError(f"slide_labels: got {positive} positive nodes, which is pN3; expected 9 at most")
    return "pN1" if positive <= 3 else "pN2"


def stage_patients(slides: Mapping[str, str], *, nodes: int | None = 5) -> dict[str, str]:
    """Return the pN stage of each patient from the stages of the slides; see `pn_stage`.

    Parameters
    ----------
    slides : mapping of str to str
        The slides' stages by their names, such as "patient_000_node_0". Stages of patients among them, as
        Camelyon17's tables have them ("patient_000": "pN0"), are passed over.
    nodes : int, optional
        How many each patient has, numbered from 0: 5 in Camelyon17. ValueError names the patients that lack
        some and those that have others. None takes those that are there.

    Returns
    -------
    dict of str to str
        One of `PATIENT_STAGES` for each patient, in the order of their names.

    Examples
    --------
    >>> slides = {f"patient_007_node_{node}": "negative" for node in range(5)}
    >>> stage_patients(slides | {"patient_007_node_3": "itc"})
    {'patient_007': 'pN0(i+)'}
    """
    if not isinstance(slides, Mapping):
        raise TypeError(f"slides: got {type(slides).__name__}, expected a mapping of names to stages")
    patients: dict[str, dict[int, str]] = {}
    for name, label in slides.items():
        place = node_of(name)
        if place is None:
            if label in PATIENT_STAGES:
                continue
            raise ValueError(f"slides: got the name {name!r}, expected one such as 'patient_000_node_0'")
        of_patient = patients.setdefault(place[0], {})
        if place[1] in of_patient:
            raise ValueError(f"slides: got node {place[1]} of {place[0]} twice, the second as {name!r}")
        of_patient[place[1]] = _slide_stage(label, f"slides[{name!r}]")
    if nodes is not None:
        _check_nodes(patients, _numbers.whole(nodes, "nodes", 1))
    return {patient: pn_stage(found.values(), nodes=None) for patient, found in sorted(patients.items())}


def node_of(name: Any) -> tuple[str, int] | None:
    """Return the patient and the number of the node that the name of a slide tells; None where it does not.

    Examples
    --------
    >>> node_of("patient_012_node_4"), node_of("patient_012")
    (('patient_012', 4), None)
    """
    found = _NODE.fullmatch(name) if isinstance(name, str) else None
    return (found[1], int(found[2])) if found else None


def _slide_stage(label: Any, name: str) -> str:
    """Return a slide's stage as `SLIDE_STAGES` spells it."""
    plain = label.strip().lower() if isinstance(label, str) else label
    if plain == "normal":
        return "negative"
    if not isinstance(plain, str) or plain not in SLIDE_STAGES:
        raise ValueError(f"{name}: got {label!r}, expected one of {', '.join(SLIDE_STAGES)}")
    return plain


def _check_nodes(patients: Mapping[str, Mapping[int, str]], nodes: int) -> None:
    """Raise ValueError that names the patients without just the nodes 0 to ``nodes`` - 1."""
    told = []
    for patient, found in sorted(patients.items()):
        missing = [str(node) for node in range(nodes) if node not in found]
        others = [str(node) for node in sorted(found) if node >= nodes]
        if missing:
            told.append(f"{patient} without node {', '.join(missing)}")
        if others:
            told.append(f"{patient} with node {', '.join(others)}")
    if told:
        raise ValueError(f"slides: got {'; '.join(told)}, expected nodes 0 to {nodes - 1} of each patient")
