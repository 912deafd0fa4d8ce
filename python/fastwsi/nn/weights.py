"""Trained weights from files and URLs into networks; nothing in a file is ever executed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
import re
import sys
import urllib.error
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlparse

import torch
from torch import nn

from fastwsi.nn.inputs import fold_normalisation, foldable

PUBLISHED_AT = "https://download.pytorch.org/models/"
"""Where torchvision's published weights lie."""

logger = logging.getLogger(__name__)

_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "weights")
_PREFIXES = ("module.", "model.", "network.", "_orig_mod.")
_SHOWN = 4

Network = TypeVar("Network", bound=nn.Module)


def load_weights(
    network: Network,
    source: str | os.PathLike[str],
    *,
    dropped: Sequence[str] | None = None,
    classifier: str | None = None,
    normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Network:
    """Load a file of weights into a network, in place: all of it or, with an error, nothing.

    A classifier in the file with another number of outputs is left out, with a warning in the log: the
    network's stays as it is.

    Parameters
    ----------
    network : torch.nn.Module
        Of this room, torchvision, timm or your own.
    source : str or Path
        A state dict in a .pth, .pt, .ckpt or .bin file (of ``torch.save``), or a .safetensors file. Wrapped
        ones ({"state_dict": …}, {"model": …}; names that all begin with "module." or "model.") are
        unwrapped. Or a URL (https, http, file) of a .pth or .pt file with the beginning of its SHA-256 in its
        name, as in "resnet18-f37072fd.pth", which torch's hub downloads once, to ``torch.hub.get_dir()``. Or
        "imagenet": the file that torchvision publishes for this network of this room.
    dropped : sequence of str, optional
        What begins with one of these in the file is left out, and told in the log, where the network has no
        such part. None: the parts that the networks of this room lack, as auxiliary heads.
    classifier : str, optional
        Path of the last layer in the network. None: its last ``torch.nn.Linear``.
    normalisation : (mean, std), optional
        Three numbers each, of the images on [0, 1] that the file was trained on: folded into the network,
        which takes images on [−1, 1] from then on. See `fold_normalisation`.

    Returns
    -------
    torch.nn.Module
        The network.

    Raises
    ------
    ValueError
        Where the file holds other things than tensors, or not this network's: keys missing or unexpected,
        other shapes. Where a download has not the hash in its name.
    OSError
        Where there is no such file, or a download fails.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> path = Path(tempfile.mkdtemp()) / "trained.pth"
    >>> trained = fastwsi.nn.inception_v3(width=0.1, num_classes=2)
    >>> torch.save({"state_dict": trained.state_dict()}, path)
    >>> network = fastwsi.nn.load_weights(fastwsi.nn.inception_v3(width=0.1, num_classes=2), path)
    >>> bool(torch.equal(network.fc.weight, trained.fc.weight))
    True
    """
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"weights: got {source!r}, expected a path, a URL or 'imagenet'")
    if source == "imagenet":
        published = getattr(network, "published_weights", None)
        if not isinstance(published, str):
            raise ValueError(
                "weights: got 'imagenet', expected a path: none are published for this network at its width"
            )
        source = PUBLISHED_AT + published
    if normalisation is not None:
        foldable(network, *normalisation)
    text = os.fspath(source)
    state = _downloaded(text) if re.match(r"(https?|file)://", text) else _read(Path(text).expanduser())
    needless = getattr(network, "lacking", ()) if dropped is None else dropped
    _fill(network, _unwrapped(state, network, text), text, needless, classifier)
    if normalisation is not None:
        fold_normalisation(network, *normalisation)
    return network


def _downloaded(url: str) -> Any:
    name = unquote(urlparse(url).path).rpartition("/")[2]
    # torch goes by the first such place in the name, even one without digits, which anything would pass.
    first = re.search(r"-[0-9a-f]*\.", name)
    expected = re.fullmatch(r"-([0-9a-f]{8,64})\.(pth|pt)", name[first.start() :]) if first else None
    if expected is None:
        raise ValueError(
            f"weights: got {url!r}, expected a .pth or .pt file with at least the first 8 digits of its "
            "SHA-256 in its name, as in 'resnet18-f37072fd.pth'"
        )
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    # torch checks what it downloads alone, not what lies there since.
    if cached.exists() and not _sha256(cached).startswith(expected[1]):
        raise ValueError(f"weights: got {cached}, whose SHA-256 is not the one in its name: delete it")
    # torch says on standard output, which belongs to results, what it downloads.
    with contextlib.redirect_stdout(sys.stderr), _readable(url):
        try:
            return torch.hub.load_state_dict_from_url(
                url,
                map_location="cpu",
                progress=sys.stderr.isatty(),
                check_hash=True,
                file_name=name,
                weights_only=True,
            )
        except urllib.error.URLError as error:
            raise OSError(
                f"weights: {url} cannot be downloaded ({error.reason}); fetch it elsewhere and give the path"
            ) from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read(path: Path) -> Any:
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"weights: got {str(path)!r}, expected a file that ends in {', '.join(_SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"weights: got {str(path)!r}, expected a file that exists")
    with _readable(str(path)):
        if path.suffix.lower() == ".safetensors":
            try:
                from safetensors.torch import load_file  # noqa: PLC0415 (not needed for anything else)
            except ImportError as error:
                raise ImportError("weights: .safetensors files need the package safetensors") from error
            return load_file(path, device="cpu")
        return torch.load(path, map_location="cpu", weights_only=True)


@contextlib.contextmanager
def _readable(name: str) -> Any:
    """Turn what readers raise on files that are no state dicts into one error."""
    try:
        yield
    except pickle.UnpicklingError as error:
        # torch's message ends in advice to execute the file.
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"the object {found[1]}" if found else "something else than tensors, or is damaged"
        raise ValueError(
            f"weights: got {name}, which holds {what}, expected a state dict (files are never executed)"
        ) from None
    except (OSError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"weights: got {name}, expected a file of weights: {reason}") from error


def _unwrapped(state: Any, network: nn.Module, name: str) -> dict[str, torch.Tensor]:
    """Return the names and tensors in what was read."""
    while isinstance(state, Mapping) and not _is_state(state):
        inner = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, Mapping) or not _is_state(state):
        kind = f"a dict of {', '.join(map(repr, list(state)[:_SHOWN]))}" if isinstance(state, Mapping) else ""
        raise ValueError(
            f"weights: got {name} with {kind or type(state).__name__}, expected names and dense tensors"
        )
    found = dict(state)
    own = network.state_dict().keys()
    prefixes = [p for p in _PREFIXES if not any(key.startswith(p) for key in own)]
    while prefix := next((p for p in prefixes if all(key.startswith(p) for key in found)), None):
        found = {key[len(prefix) :]: value for key, value in found.items()}
    return found


def _is_state(state: Mapping[Any, Any]) -> bool:
    return len(state) > 0 and all(
        isinstance(key, str)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_quantized or value.is_complex())
        for key, value in state.items()
    )


def _fill(
    network: nn.Module,
    found: dict[str, torch.Tensor],
    name: str,
    dropped: Sequence[str],
    classifier: str | None,
) -> None:
    """Check everything, then copy."""
    own = network.state_dict()
    needless = [key for key in found if key not in own and key.startswith(tuple(dropped))]
    if needless:
        parts = ", ".join(sorted({key.partition(".")[0] for key in needless}))
        logger.info(
            "%s: dropped %s (%d tensors), which the network does not have", name, parts, len(needless)
        )
    left = _left(network, own, found, classifier, name)
    taken = {key: value for key, value in found.items() if key not in needless and key not in left}
    problems = {
        # Old files lack the counts of batches, which no batch norm with a momentum reads.
        "missing": [
            key for key in own if not (key in taken or key in left or key.endswith("_batches_tracked"))
        ],
        "unexpected": [key for key in taken if key not in own],
        "of another shape or kind": [
            f"{key} {_kind(value)} for {_kind(own[key])}"
            for key, value in taken.items()
            if key in own and not _fits(value, own[key])
        ],
    }
    told = [f"{len(keys)} {what} ({_first(keys)})" for what, keys in problems.items() if keys]
    if told:
        raise ValueError(
            f"weights: got {name} with keys {', '.join(told)}, expected those of {type(network).__name__}"
        )
    network.load_state_dict(taken, strict=False)


def _left(
    network: nn.Module,
    own: Mapping[str, torch.Tensor],
    found: Mapping[str, torch.Tensor],
    classifier: str | None,
    name: str,
) -> set[str]:
    """Return the keys of the classifier, where the file's differs in the number of outputs alone."""
    if classifier is None:
        linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
        classifier = linear[-1] if linear else None
    elif f"{classifier}.weight" not in own:
        raise ValueError(f"classifier: got {classifier!r}, expected the path of a layer with weights")
    weight = f"{classifier}.weight"
    if classifier is None or weight not in found:
        return set()
    theirs, ours = found[weight].shape, own[weight].shape
    if theirs[1:] != ours[1:] or theirs[:1] == ours[:1] or not theirs:
        return set()
    logger.warning(
        "%s: its classifier %s has %d outputs and the network %d: left as it was",
        name,
        classifier,
        theirs[0],
        ours[0],
    )
    return {weight, f"{classifier}.bias"}


def _fits(value: torch.Tensor, own: torch.Tensor) -> bool:
    """Tell whether a tensor may be copied; whole numbers are no weights, as those of quantised networks."""
    return value.shape == own.shape and (value.is_floating_point() or not own.is_floating_point())


def _kind(value: torch.Tensor) -> str:
    return f"{tuple(value.shape)}{'' if value.is_floating_point() else ' of integers'}"


def _first(keys: Sequence[str]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
