"""PatchCamelyon: 96 x 96 pixels each, as HDF5 splits or as Kaggle's folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi.data.files import existing_folder, find, read_table, stem
from fastwsi.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastwsi.slides.backend import Pixels

_SIDE = 96
_SPLITS = {"train": "train", "validation": "valid", "test": "test"}


class PatchCamelyon:
    """The images of one split, with their labels: a dataset for torch's loaders.

    HDF5 files (``camelyonpatch_level_2_split_train_x.h5`` and ``_y.h5``) are opened by each process for
    itself. Kaggle's folder has ``train_labels.csv`` and one TIFF for each image; it is all "train", and its
    "test" has no labels.

    Parameters
    ----------
    root : path
        Where the files are, or a folder above.
    split : str
        "train", "validation" or "test".

    Attributes
    ----------
    labels : int64 array
        0 or 1; -1 where unknown.
    names : tuple of str
        Kaggle's ids; empty for HDF5.
    """

    def __init__(self, root: str | Path, split: Literal["train", "validation", "test"] = "train") -> None:
        if split not in _SPLITS:
            raise ValueError(f"split: got {split!r}, expected one of {', '.join(_SPLITS)}")
        folder = existing_folder(root)
        self.root, self.split = folder, split
        self.names: tuple[str, ...] = ()
        files = find(folder, rf"(camelyonpatch_level_2_split_{_SPLITS[split]}_[xy])\.h5")
        kaggle = find(folder, r"(train_labels|sample_submission)\.csv")
        self._read: Callable[[int], Pixels]
        if files:
            self.labels = self._open_splits(files)
        elif split != "validation" and kaggle:
            self.labels = self._open_kaggle(kaggle)
        else:
            raise SlideError(
                folder, f"no PatchCamelyon {split}: neither camelyonpatch_level_2_split_"
                f"{_SPLITS[split]}_x.h5 nor Kaggle's train_labels.csv"
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: got {index}, expected below {len(self)}")
        index %= len(self)
        return self._read(index), int(self.labels[index])

    def _open_splits(self, files: dict[str, Path]) -> np.ndarray[Any, np.dtype[np.int64]]:
        import h5py  # noqa: PLC0415  (imported where used)

        by_kind = {name[-1]: path for name, path in files.items()}
        if "x" not in by_kind:
            raise SlideError(by_kind["y"], "labels without images: the file that ends in _x.h5 is missing")
        self._images: Any = None
        self._file = by_kind["x"]
        count = self._h5_shape(by_kind["x"])
        self._read = self._read_h5
        if "y" not in by_kind:
            return np.full(count, -1, np.int64)
        try:
            with h5py.File(by_kind["y"]) as file:
                labels = np.asarray(file["y"]).reshape(-1).astype(np.int64)
        except (OSError, KeyError, ValueError) as error:
            raise SlideError(by_kind["y"], f"no HDF5 of labels: {error}") from None
        if len(labels) != count:
            raise SlideError(by_kind["y"], f"got {len(labels)} labels, expected {count}")
        return labels

    def _h5_shape(self, path: Path) -> int:
        import h5py  # noqa: PLC0415

        try:
            with h5py.File(path) as file:
                shape, dtype = file["x"].shape, file["x"].dtype
        except (OSError, KeyError, ValueError) as error:
            raise SlideError(path, f"no HDF5 of images: {error}") from None
        if shape[1:] != (_SIDE, _SIDE, 3) or dtype != np.uint8:
            raise SlideError(path, f"got images of {shape[1:]} of {dtype}, expected {_SIDE} x {_SIDE} x 3")
        return int(shape[0])

    def _read_h5(self, index: int) -> Pixels:
        import os  # noqa: PLC0415

        import h5py  # noqa: PLC0415

        if self._images is None or self._images[0] != os.getpid():
            # HDF5's handles do not survive a fork; the parent's stays with it.
            self._images = os.getpid(), h5py.File(self._file), self._images
        found: Pixels = self._images[1]["x"][index]
        return found

    def _open_kaggle(self, tables: dict[str, Path]) -> np.ndarray[Any, np.dtype[np.int64]]:
        images = find(self.root / self.split, r"([0-9a-f]{40})\.tif")
        if not images:
            raise SlideError(self.root / self.split, "no images of Kaggle's PatchCamelyon")
        table = tables.get("train_labels") if self.split == "train" else None
        labels = {}
        if table is not None:
            labels = {stem(row["id"]): int(row["label"]) for row in read_table(table, ("id", "label"))}
            missing = images.keys() ^ labels.keys()
            if missing:
                raise SlideError(table, f"{len(missing)} ids have an image or a label only: {min(missing)} …")
        self.names = tuple(sorted(images))
        self._paths = [images[name] for name in self.names]
        self._read = self._read_tiff
        return np.array([labels.get(name, -1) for name in self.names], np.int64)

    def _read_tiff(self, index: int) -> Pixels:
        from PIL import Image  # noqa: PLC0415

        try:
            with Image.open(self._paths[index]) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise SlideError(self._paths[index], f"no picture that can be read: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": None}
