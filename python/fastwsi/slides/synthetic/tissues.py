"""The kinds of tissue of a lymph node, and what each is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Tissue(IntEnum):
    """What a place of a slide is."""

    GLASS = 0
    CAPSULE = 1
    SINUS = 2
    CORTEX = 3
    MANTLE = 4
    GERMINAL = 5
    CORD = 6
    FAT = 7
    NEST = 8  # of tumour
    STROMA = 9  # between nests
    VESSEL = 10
    LUMEN = 11  # of a gland


@dataclass(frozen=True)
class Make:
    """What a tissue is made of.

    Attributes
    ----------
    haematoxylin, eosin : float
        Optical density between nuclei.
    fibres, grain : float
        How strongly its eosin varies in fibres, and in grains of cytoplasm.
    small, large, spindle, tumour : float
        The part of a lattice's places that hold a nucleus: lymphocytes (6.6 µm apart), large cells of
        follicles (10.5 µm), fibroblasts and endothelium (15 µm), tumour cells (12.6 µm).
    """

    haematoxylin: float
    eosin: float
    fibres: float = 0.0
    grain: float = 0.0
    small: float = 0.0
    large: float = 0.0
    spindle: float = 0.0
    tumour: float = 0.0


MAKES = {
    Tissue.GLASS: Make(0.0, 0.0),
    Tissue.CAPSULE: Make(0.06, 0.62, fibres=0.55, small=0.02, spindle=0.55),
    Tissue.SINUS: Make(0.03, 0.13, grain=0.5, small=0.22, large=0.16),
    Tissue.CORTEX: Make(0.13, 0.26, grain=0.3, small=0.93, large=0.03, spindle=0.08),
    Tissue.MANTLE: Make(0.16, 0.24, grain=0.3, small=1.0),
    Tissue.GERMINAL: Make(0.1, 0.33, grain=0.35, small=0.25, large=0.85),
    Tissue.CORD: Make(0.11, 0.32, grain=0.35, small=0.7, large=0.12, spindle=0.12),
    Tissue.FAT: Make(0.0, 0.0, spindle=0.06),
    Tissue.NEST: Make(0.08, 0.34, grain=0.7, small=0.06, tumour=0.84),
    Tissue.STROMA: Make(0.06, 0.45, fibres=0.5, small=0.3, spindle=0.6),
    Tissue.LUMEN: Make(0.01, 0.06, grain=0.6, small=0.02),
    Tissue.VESSEL: Make(0.03, 0.3, grain=0.2, spindle=0.2),
}
