"""Networks made ready for inference, and batch norms that keep still in training."""

from __future__ import annotations

import copy
import functools
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fastwsi.nn.splitting import ModuleTracer

if TYPE_CHECKING:
    from torch import fx

logger = logging.getLogger(__name__)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

Network = TypeVar("Network", bound=nn.Module)


def for_inference(
    network: Network, *, channels_last: bool = True, dtype: torch.dtype | None = None
) -> Network:
    """Return a copy of a network for inference, faster and with the same outputs.

    It is in eval mode and takes no gradients. Batch norms are folded into the convolutions before them, where
    torch.fx can see that nothing else reads in between; what it cannot trace stays as it is, and the log
    says so. The copy is of the network's own class, with its methods; only its folded layers differ, so that
    checkpoints belong to the original.

    Parameters
    ----------
    network : torch.nn.Module
        Any; is not changed.
    channels_last : bool
        Lay out the weights so that two-dimensional convolutions compute with the channels last in memory.
    dtype : torch.dtype, optional
        Of the weights: torch.bfloat16 or torch.float16, or a wider one. Inputs are converted to it when the
        copy is called; outputs have it.

    Returns
    -------
    torch.nn.Module
        The copy, on the network's device.

    Examples
    --------
    >>> import torch
    >>> network = fastwsi.nn.inception_v3(width=0.1, num_classes=2).eval()
    >>> fast = fastwsi.nn.for_inference(network)
    >>> image = torch.rand(2, 3, 107, 107)
    >>> bool(torch.allclose(fast(image), network(image), atol=1e-5)), fast.Mixed_7c.branch1x1.bn
    (True, Identity())
    """
    if dtype is not None and dtype not in _DTYPES:
        raise ValueError(f"dtype: got {dtype}, expected one of {', '.join(map(str, _DTYPES))}")
    ready = copy.deepcopy(network).eval().requires_grad_(False)
    norms = sum(isinstance(module, _BatchNorm) for module in ready.modules())
    folded = _fold(ready, _shared(ready))
    logger.info("%s: %d of %d batch norms folded", type(network).__name__, folded, norms)
    if channels_last:
        for module in ready.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if dtype is not None:
        ready.to(dtype)
        ready.register_forward_pre_hook(functools.partial(_converted, dtype=dtype), with_kwargs=True)
    return ready


def freeze_batch_norm(network: nn.Module, frozen: bool = True, *, parameters: bool = False) -> int:
    """Hold the batch norms of a network in eval mode, or let them go again; in place.

    While they are frozen, ``network.train()`` leaves them in eval mode: they use their running statistics
    and do not change them. State dicts keep their names, and copies and pickles stay frozen.

    Parameters
    ----------
    network : torch.nn.Module
        With any number of batch norms.
    frozen : bool
        False: they follow ``network.train()`` and ``eval()`` again, and are in the network's mode now.
    parameters : bool
        Freeze their weights and biases too (``requires_grad``), until they are let go.

    Returns
    -------
    int
        How many batch norms the network has.

    Examples
    --------
    >>> network = fastwsi.nn.resnet18()
    >>> fastwsi.nn.freeze_batch_norm(network)
    20
    >>> network.train().bn1.training
    False
    >>> fastwsi.nn.freeze_batch_norm(network, False), network.bn1.training
    (20, True)
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        held = norm.__dict__.pop("train", None)
        if isinstance(held, _Held):
            for parameter, needed in held.gradients:
                parameter.requires_grad_(needed)
            # A network that is a batch norm has no mode beside its own: the one that it was frozen in.
            norm.train(held.training if norm is network else network.training)
        if frozen:
            gradients = [(p, p.requires_grad) for p in norm.parameters()] if parameters else []
            # An attribute of the instance goes before the method: nn.Module.train calls it on every child.
            norm.__dict__["train"] = _Held(norm, norm.training, gradients)
            norm.eval()
            for parameter, _ in gradients:
                parameter.requires_grad_(False)
    return len(norms)


@dataclass(eq=False)
class _Held:
    """Stands in for the method ``train`` of a batch norm that is to stay in eval mode."""

    norm: _BatchNorm
    training: bool
    gradients: list[tuple[nn.Parameter, bool]]

    def __call__(self, mode: bool = True) -> _BatchNorm:
        self.training = mode
        return type(self.norm).train(self.norm, False)


class _Tracer(ModuleTracer):
    """Keeps other packages' convolutions and batch norms whole too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a module is traced as one call."""
        return isinstance(m, (*_CONVOLUTIONS, _BatchNorm)) or super().is_leaf_module(m, module_qualified_name)


def _fold(network: nn.Module, shared: set[int]) -> int:
    """Fold what a trace of the network shows, or of its parts where it has none; return how many."""
    if isinstance(network, _BatchNorm) or not any(isinstance(m, _BatchNorm) for m in network.modules()):
        return 0
    try:
        graph = _Tracer().trace(network)
    except Exception as error:  # noqa: BLE001 (tracing runs any code)
        reason = str(error).partition("\n")[0]
        logger.info(
            "%s cannot be traced (%s): its parts are folded one by one", type(network).__name__, reason
        )
        return sum(_fold(part, shared) for part in _parts(network))
    modules = dict(network.named_modules())
    folded = 0
    for before, after in _pairs(graph, modules):
        convolution, norm = modules[before], modules[after]
        rest = _without_norm(norm)
        if rest is not None and not {id(convolution), id(norm)} & shared:
            _fold_pair(convolution, norm)
            parent, _, name = after.rpartition(".")
            setattr(network.get_submodule(parent), name, rest)
            folded += 1
    return folded


def _parts(network: nn.Module) -> list[nn.Module]:
    """Return the parts that are sure to be called as a whole.

    Code that cannot be traced may run the items of a container one by one and keep what lies between.
    """
    found = []
    for child in network.children():
        found += _parts(child) if type(child) in (nn.Sequential, nn.ModuleList, nn.ModuleDict) else [child]
    return found


def _shared(network: nn.Module) -> set[int]:
    """Return the ids of modules that must stay: used under two names, with tied weights, or with hooks."""
    paths = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    tied = Counter(id(p) for _, p in network.named_parameters(remove_duplicate=False))
    return {
        id(module)
        for module in network.modules()
        if paths[id(module)] > 1
        or any(tied[id(p)] > 1 for p in module.parameters(recurse=False))
        or module._forward_hooks  # noqa: SLF001 (there is no public way to ask)
        or module._forward_pre_hooks  # noqa: SLF001
    }


def _pairs(graph: fx.Graph, modules: dict[str, nn.Module]) -> list[tuple[str, str]]:
    """Return the paths of convolutions and batch norms of which every call is one behind the other."""
    calls: dict[str, list[fx.Node]] = {}
    touched = set()  # whose parameters the network's own code reads
    for node in graph.nodes:
        if node.op == "call_module":
            calls.setdefault(str(node.target), []).append(node)
        elif node.op == "get_attr":
            touched.add(str(node.target).rpartition(".")[0])
    found = []
    for after, nodes in calls.items():
        if not isinstance(modules[after], _BatchNorm) or after in touched:
            continue
        feeders = {node.all_input_nodes[0] for node in nodes if len(node.all_input_nodes) == 1}
        befores = {str(feeder.target) for feeder in feeders if feeder.op == "call_module"}
        before = befores.pop() if len(befores) == 1 else ""
        if type(modules.get(before)) not in _CONVOLUTIONS or before in touched:
            continue
        # Each call of the convolution goes to one call of this norm, which reads nothing else.
        if feeders == set(calls[before]) and all(len(f.users) == 1 for f in calls[before]):
            found.append((before, after))
    return found


def _without_norm(norm: nn.Module) -> nn.Module | None:
    """Return what a batch norm leaves behind once it is folded; None where it cannot be."""
    if getattr(norm, "running_mean", None) is None or getattr(norm, "running_var", None) is None:
        return None  # it takes the statistics of the batch
    if type(norm) in _NORMS:
        return nn.Identity()
    if type(norm).__name__ == "BatchNormAct2d":  # timm's: a batch norm, then these two
        drop, act = getattr(norm, "drop", None), getattr(norm, "act", None)
        if isinstance(drop, nn.Module) and isinstance(act, nn.Module):
            return nn.Sequential(drop, act)
    return None


def _fold_pair(convolution: Any, norm: Any) -> None:
    """Give the convolution what the batch norm does in eval mode."""
    weight = convolution.weight
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double()
    if convolution.bias is not None:
        shift = shift + convolution.bias.double()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = shift * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    scaled = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    convolution.weight = nn.Parameter(scaled.to(weight.dtype), requires_grad=False)
    convolution.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)


def _converted(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Convert the tensors of floats that a network is called with."""

    def convert(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return tuple(convert(value) for value in args), {key: convert(value) for key, value in kwargs.items()}
