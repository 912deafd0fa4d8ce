"""A model in one file: weights as safetensors, the recipe as JSON beside them. Reading executes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi._files import write_atomically
from fastwsi._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_FORMAT, _VERSION = "fastwsi", 1
_OWN = ("format", "version", "system", "recipe", "fastwsi")
_LONGEST = 1 << 20  # characters of metadata


@dataclass(frozen=True, eq=False)
class ModelFile:
    """What a file holds.

    Attributes
    ----------
    system : str
        The detector's name.
    recipe : dict
        Its settings, not yet checked.
    weights : dict
        Tensors by name.
    more : dict
        Further metadata, texts by name, for the detector to know.
    """

    system: str
    recipe: dict[str, Any]
    weights: dict[str, torch.Tensor]
    more: dict[str, str]


def write_model(
    path: str | Path,
    system: str,
    recipe: Mapping[str, Any],
    weights: Mapping[str, Any],
    more: Mapping[str, str] | None = None,
) -> None:
    """Write a model; the file is whole or not there.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``.
    system : str
    recipe : mapping
        Of values that JSON has.
    weights : mapping
        Tensors by name.
    more : mapping, optional
        Further texts by name.
    """
    from safetensors.torch import save  # noqa: PLC0415  (imported where used)

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path: got {path.name!r}, expected a name that ends in .safetensors")
    told = {
        "format": _FORMAT,
        "version": str(_VERSION),
        "system": system,
        "recipe": json.dumps(dict(recipe), sort_keys=True, allow_nan=False),
        "fastwsi": __version__,
        **(more or {}),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomically(path, _in_order(save(tensors, metadata=told)))


def _in_order(code: bytes) -> bytes:
    """Return a file with its metadata sorted: safetensors gives them another order each time."""
    length = int.from_bytes(code[:8], "little")
    head = json.loads(code[8 : 8 + length])
    head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin where memory may be mapped
    return len(text).to_bytes(8, "little") + text + code[8 + length :]


def read_model(path: str | Path) -> ModelFile:
    """Read a model; ValueError says why a file is none.

    Nothing in it is executed, and nothing is believed: what its settings and tensors must be is for the
    detector to check.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415  (imported where used)

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            system, recipe = _understood(path, told)
            more = {name: text for name, text in told.items() if name not in _OWN}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ValueError(f"{path}: no safetensors file that can be read: {error}") from None
    return ModelFile(system, recipe, weights, more)


def _understood(path: Path, told: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return a file's system and settings; refuse what another program, or a later one, has written."""
    if told.get("format") != _FORMAT:
        raise ValueError(f"{path}: no model of fastwsi: its metadata has no format {_FORMAT!r}")
    if told.get("version") != str(_VERSION):
        raise ValueError(f"{path}: got format version {told.get('version')!r}, expected {_VERSION}")
    text = told.get("recipe", "")
    length = sum(len(each) for each in told.values())
    if length > _LONGEST:
        raise ValueError(f"{path}: got {length} characters of metadata, expected at most {_LONGEST}")
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: its settings are no JSON") from None
    if not isinstance(recipe, dict) or not told.get("system", "").isidentifier():
        raise ValueError(f"{path}: its system or settings are not what a model has")
    return told["system"], recipe
