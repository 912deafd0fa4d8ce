"""Whole data sets of synthetic slides, in the layouts of real ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _numbers
from fastwsi._files import replacing, write_atomically
from fastwsi._version import __version__
from fastwsi.slides.annotations import write_asap
from fastwsi.slides.synthetic.slides import check_slide, lesions_of, synthetic_slide
from fastwsi.slides.writing import write_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastwsi.slides.synthetic.anatomy import LesionSize
    from fastwsi.slides.synthetic.painting import SyntheticSlide

_SETTINGS = "synthetic.json"
_MACRO_SIDE = 2600.0  # µm: a smaller node has no room for a deposit of 2 mm
_PATCH, _CENTRE = 96, 32
_PATCH_MPP = 0.972
_PATCHES_OF_A_SLIDE = 128
_ATTEMPTS = 20
_OWN_FILES = (
    "training/*/normal_*.tif", "training/*/tumor_*.tif", "testing/images/test_*.tif",
    "*/lesion_annotations/*_*.xml", "testing/reference.csv", "slide_*.tif", "slides.csv",
    "camelyonpatch_level_2_split_*.h5",
)  # fmt: skip


@dataclass(frozen=True)
class SyntheticSet:
    """What to make.

    Attributes
    ----------
    train, test : int
        Slides; half of each hold tumour, the odd one is normal.
    size : (int, int)
        Of each, in pixels.
    mpp : float
    seed : int
    quality : int
        JPEG's.
    """

    train: int
    test: int
    size: tuple[int, int] = (4096, 3072)
    mpp: float = 0.5
    seed: int = 0
    quality: int = 85

    def __post_init__(self) -> None:
        for name in ("train", "test", "seed"):
            _numbers.whole(getattr(self, name), name, 0)
        check_slide(self.size, self.mpp)

    def slides(self) -> Iterator[tuple[str, int, tuple[LesionSize, ...]]]:
        """Yield each slide's name, seed and lesions, as they are made."""
        for part, count in (("train", self.train), ("test", self.test)):
            tumours = count // 2
            order = np.random.default_rng([self.seed, part == "test"]).permutation(count)
            numbers = {"normal": 0, "tumor": 0, "test": 0}
            for i in range(count):
                # Test slides of both kinds are mixed, as Camelyon16's are.
                tumour = int(order[i]) < tumours if part == "test" else i >= count - tumours
                kind = "test" if part == "test" else "tumor" if tumour else "normal"
                numbers[kind] += 1
                own = int(np.random.SeedSequence([self.seed, part == "test", i]).generate_state(1)[0])
                yield f"{kind}_{numbers[kind]:03d}", own, self._lesions(i, own) if tumour else ()

    def _lesions(self, index: int, seed: int) -> tuple[LesionSize, ...]:
        """Return a slide's deposits: all sizes occur, and every third slide has small ones alone."""
        rng = np.random.default_rng([seed, 5])
        room = min(self.size) * self.mpp >= _MACRO_SIDE
        found: list[LesionSize] = ["macro"] if room and index % 3 == 0 else []
        small = int(rng.integers(0, 2)) if found else int(rng.integers(1, 4))
        found.extend(["micro"] * small)
        found.extend(["itc"] * int(rng.integers(0, 3)))
        return tuple(found)


def write_camelyon16(
    folder: str | Path,
    wanted: SyntheticSet,
    *,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Write a data set in Camelyon16's layout: slides, ASAP annotations, ``reference.csv``.

    Slides that are there already, made with the same settings, are kept: what was interrupted goes on.

    Parameters
    ----------
    folder : path
        Made where it is not there.
    wanted : SyntheticSet
    overwrite : bool
        Make everything anew, also over a set of other settings.
    progress : callable, optional
        Called with a slide's name, slides done, and slides in all.

    Returns
    -------
    list of Path
        Of all slides.
    """
    root = Path(folder)
    _claim(root, {"layout": "camelyon16", **asdict(wanted)}, overwrite=overwrite)
    slides = list(wanted.slides())
    rows, paths = [], []
    for done, (name, seed, lesions) in enumerate(slides):
        kind = name.partition("_")[0]
        part = root / ("testing" if kind == "test" else "training")
        path = part / ("images" if kind == "test" else kind) / f"{name}.tif"
        slide = _made(seed, wanted, lesions)
        drawn = lesions_of(slide)
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(drawn):
            (part / "lesion_annotations").mkdir(exist_ok=True)
            write_asap(part / "lesion_annotations" / f"{name}.xml", drawn)
        if not path.exists():
            _write(path, slide, wanted.quality)
        if kind == "test":
            rows.append(f"{name},{'Tumor' if len(drawn) else 'Normal'},None,{_largest(slide)}")
        paths.append(path)
        if progress is not None:
            progress(name, done + 1, len(slides))
    if rows:
        write_atomically(root / "testing" / "reference.csv", "\n".join(rows) + "\n")
    return paths


def write_labelled(
    folder: str | Path,
    wanted: SyntheticSet,
    *,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Write slides with a label each and nothing else: ``slides.csv`` with slide, label and split."""
    root = Path(folder)
    _claim(root, {"layout": "labelled", **asdict(wanted)}, overwrite=overwrite)
    slides = list(wanted.slides())
    lines, paths = ["slide,label,split"], []
    for done, (name, seed, lesions) in enumerate(slides):
        number = f"slide_{done + 1:03d}"
        path = root / f"{number}.tif"
        slide = _made(seed, wanted, lesions)
        if not path.exists():
            _write(path, slide, wanted.quality)
        label = "tumor" if slide.anatomy.lesions else "normal"
        lines.append(f"{path.name},{label},{'test' if name.startswith('test') else 'train'}")
        paths.append(path)
        if progress is not None:
            progress(number, done + 1, len(slides))
    write_atomically(root / "slides.csv", "\n".join(lines) + "\n")
    return paths


def write_patch_camelyon(
    folder: str | Path,
    counts: dict[str, int],
    *,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Write patches in PatchCamelyon's form: 96 x 96 pixels at 0.972 µm, labelled by their middle 32 x 32.

    Parameters
    ----------
    folder : path
    counts : dict
        Patches of "train", "valid" and "test"; half of each hold tumour in their middle.
    seed : int
    """
    import h5py  # noqa: PLC0415  (imported where used)

    root = Path(folder)
    _claim(root, {"layout": "patch_camelyon", "counts": counts, "seed": seed}, overwrite=overwrite)
    done, total, paths = 0, sum(counts.values()), []
    for part, (split, count) in enumerate(counts.items()):
        if split not in ("train", "valid", "test"):
            raise ValueError(f"counts: got {split!r}, expected train, valid and test")
        stem = root / f"camelyonpatch_level_2_split_{split}"
        images, labels = Path(f"{stem}_x.h5"), Path(f"{stem}_y.h5")
        paths += [images, labels]
        if images.exists() and labels.exists():
            done += count
            continue
        told = np.zeros((count, 1, 1, 1), np.uint8)
        with replacing(images) as temporary, h5py.File(temporary, "w") as file:
            pixels = file.create_dataset(
                "x", (count, _PATCH, _PATCH, 3), np.uint8, chunks=(min(64, max(count, 1)), _PATCH, _PATCH, 3)
            )
            for i, (patch, label) in enumerate(_patches(count, seed, part)):
                pixels[i], told[i] = patch, label
                done += 1
                if progress is not None and (done % 64 == 0 or done == total):
                    progress(split, done, total)
        with replacing(labels) as temporary, h5py.File(temporary, "w") as file:
            file["y"] = told
    return paths


def _patches(count: int, seed: int, part: int) -> Iterator[tuple[Any, int]]:
    """Yield patches and labels, in no order."""
    made = 0
    slides = -(-count // _PATCHES_OF_A_SLIDE)
    for number in range(slides):
        own = int(np.random.SeedSequence([seed, 17, part, number]).generate_state(1)[0])
        slide = synthetic_slide(
            own, size=(3072, 2560), mpp=_PATCH_MPP, lesions=("micro", "micro", "itc", "itc")
        )
        drawn, rng = lesions_of(slide), np.random.default_rng([own, 23])
        tissue = np.argwhere((slide.anatomy.classes > 0) & (slide.anatomy.lesion_of == 0))
        tumour = np.argwhere(slide.anatomy.lesion_of > 0)
        factor = 4.0 / slide.mpp
        for _ in range(min(_PATCHES_OF_A_SLIDE, count - made)):
            wanted = bool(rng.random() < 0.5) and len(tumour) > 0
            while True:
                places = tumour if wanted else tissue
                row, column = places[rng.integers(len(places))]
                x, y = (int((place + rng.random()) * factor) - _PATCH // 2 for place in (column, row))
                edge = (_PATCH - _CENTRE) // 2
                if drawn.rasterise((x + edge, y + edge), _CENTRE).any() == wanted:
                    break
            yield slide.read(x, y, _PATCH, _PATCH), int(wanted)
            made += 1


def _write(path: Path, slide: SyntheticSlide, quality: int) -> None:
    write_slide(path, slide, mpp=slide.mpp, quality=quality, description="fastwsi synthetic slide")


def _claim(root: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Note a set's settings in its folder; refuse a folder that holds anything else."""
    told = json.loads(json.dumps({"fastwsi": __version__, **settings}))
    told["digest"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    path = root / _SETTINGS
    if not path.exists():
        if root.exists() and any(root.iterdir()):
            raise FileExistsError(f"{root}: is not empty, and holds no synthetic set; choose another folder")
    elif overwrite:
        _clear(root)
    else:
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            there = {}
        if there != told:
            raise FileExistsError(
                f"{root}: holds a synthetic set made with other settings ({_SETTINGS}); choose another "
                "folder, or overwrite it"
            )
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(told, indent=2) + "\n")


def _clear(root: Path) -> None:
    """Take an older set away: files of the names that these functions give, and no others."""
    for pattern in _OWN_FILES:
        for path in root.glob(pattern):
            path.unlink()


def _made(seed: int, wanted: SyntheticSet, lesions: tuple[LesionSize, ...]) -> SyntheticSlide:
    """Return a slide that has tumour where it should: where a node has room for none, another one."""
    for attempt in range(_ATTEMPTS):
        own = seed if attempt == 0 else int(np.random.SeedSequence([seed, attempt]).generate_state(1)[0])
        slide = synthetic_slide(own, size=wanted.size, mpp=wanted.mpp, lesions=lesions)
        if slide.anatomy.lesions or not lesions:
            return slide
    width, height = (round(side * wanted.mpp) for side in wanted.size)
    raise ValueError(f"size, mpp: got nodes of {width} x {height} µm, in which no tumour finds room")


def _largest(slide: SyntheticSlide) -> str:
    sizes: Sequence[str] = [lesion.size for lesion in slide.anatomy.lesions]
    return next((name.title() for name in ("macro", "micro", "itc") if name in sizes), "None")
