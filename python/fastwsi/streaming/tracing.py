"""From a network to the list of what it does: calls on maps, in order, each named."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.nn import functional as F  # noqa: N812

from fastwsi.nn.splitting import ModuleTracer

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAME = (torch.nn.Identity, torch.nn.Dropout, torch.nn.Dropout1d, torch.nn.Dropout2d, torch.nn.AlphaDropout)
_SAME_FUNCTIONS = (F.dropout, F.dropout1d, F.dropout2d, F.alpha_dropout)
_SAME_METHODS = ("contiguous", "clone")


class Unstreamable(TypeError):  # noqa: N818  (what it is, rather than that it is an error)
    """A network, or a part of one, that cannot be streamed; the message says which, and what to do."""


@dataclass(frozen=True)
class Const:
    """A tensor of the trunk that is no map."""

    name: str


@dataclass(frozen=True)
class Map:
    """The n-th map that the trunk makes; 0 is the image."""

    number: int


@dataclass
class Call:
    """One operation: a module, a function or a method's name, on maps and what else it was given."""

    path: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Map

    @property
    def maps(self) -> list[Map]:
        """The maps that it reads."""
        return list(_maps_in([self.args, self.kwargs]))


@dataclass
class Trace:
    """All calls, how often each map is read, and what is returned, with Maps where tensors will be."""

    calls: list[Call] = field(default_factory=list)
    returned: Any = None

    def reads(self) -> dict[Map, int]:
        """Return how often each map is read or returned."""
        found: dict[Map, int] = {}
        for map_ in _maps_in([self.returned, *([call.args, call.kwargs] for call in self.calls)]):
            found[map_] = found.get(map_, 0) + 1
        return found


def symbolic_graph(trunk: torch.nn.Module) -> fx.Graph:
    """Trace a network as it is in eval mode; its modules' modes are as before afterwards."""
    modes = {module: module.training for module in trunk.modules()}
    try:
        trunk.eval()
        return ModuleTracer().trace(trunk)
    except Exception as error:
        raise Unstreamable(
            f"trunk: torch.fx cannot trace it ({error}); its forward must not depend on the values or "
            "sizes of "
            "tensors. fastwsi.nn.split cuts off the part of a model that can be streamed"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode


def trace(graph: fx.Graph, root: torch.nn.Module) -> Trace:
    """List a graph's calls.

    Operations in place count as others, and what reads their input later reads their output; dropout and
    identities are gone.
    """
    found = Trace()
    values: dict[fx.Node, Any] = {}
    owners: dict[fx.Node, fx.Node] = {}  # those of one owner are one tensor
    for node in graph.nodes:
        if node.op == "placeholder":
            if values:
                raise Unstreamable("trunk: got more than one input, expected the image alone")
            values[node], owners[node] = Map(0), node
        elif node.op == "get_attr":
            values[node], owners[node] = Const(str(node.target)), node
        elif node.op == "output":
            found.returned = _resolved(node.args[0], values)
        else:
            _call(node, root, values, owners, found)
    if not any(isinstance(map_, Map) for map_ in _maps_in(found.returned)):
        raise Unstreamable("trunk: it returns no map, expected a tensor or several")
    return found


def _call(
    node: fx.Node,
    root: torch.nn.Module,
    values: dict[fx.Node, Any],
    owners: dict[fx.Node, fx.Node],
    found: Trace,
) -> None:
    target: Any = root.get_submodule(str(node.target)) if node.op == "call_module" else node.target
    path = str(node.target) if node.op == "call_module" else _scope(node)
    args, kwargs = _resolved(node.args, values), _resolved(node.kwargs, values)
    if target in _SAME_FUNCTIONS and (
        kwargs.get("training", args[2] if len(args) > 2 else True) is not False
    ):
        raise Unstreamable(
            f"{path}: got training=True, expected training=self.training of a network in eval mode: it would "
            "drop other cells in each pass. torch.nn.Dropout is streamed as in evaluation"
        )
    if (
        isinstance(target, _SAME)
        or target in _SAME_FUNCTIONS
        or (node.op == "call_method" and target in _SAME_METHODS)
    ):
        source = _first(node)
        values[node] = values[source]
        owners[node] = node if target == "clone" else owners[source]
        return
    call = Call(path, target, args, kwargs, Map(len(found.calls) + 1))
    found.calls.append(call)
    values[node], owners[node] = call.output, node
    if _in_place(node, target, kwargs):
        owner = owners[node] = owners[_first(node)]
        for other in values:
            if owners[other] is owner:
                values[other] = call.output


def _first(node: fx.Node) -> Any:
    """Return the map that an operation is called on."""
    return node.args[0] if node.args else node.kwargs["input"]


def _in_place(node: fx.Node, target: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a call overwrites its first argument, which networks do to save memory."""
    if node.op == "call_module":
        return bool(getattr(target, "inplace", False))
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    if name.endswith("_") and not name.endswith("__"):
        return True
    positional = target in (F.relu, F.relu6, F.silu, F.hardswish) and len(node.args) > 1 and node.args[1]
    slope = target is F.leaky_relu and len(node.args) > 2 and node.args[2]
    return bool(kwargs.get("inplace") or positional or slope or name in ("iadd", "imul", "isub", "itruediv"))


def check_hooks(module: torch.nn.Module, path: str) -> None:
    """Raise where a module has hooks."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, name) for name in names):
        raise Unstreamable(
            f"{path}: it has hooks, which are not run on bands; remove them (or use "
            "torch.nn.utils.parametrizations "
            "in place of the older weight_norm and spectral_norm)"
        )


def _scope(node: fx.Node) -> str:
    """Return the module in whose forward a function is called, and the function's name."""
    stack = node.meta.get("nn_module_stack") or {}
    inner = list(stack)[-1] if stack else ""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"{inner}.{name}()" if inner else f"{name}()"


def _resolved(value: Any, values: dict[fx.Node, Any]) -> Any:
    if isinstance(value, fx.Node):
        return values[value]
    if isinstance(value, (tuple, list)):  # torch.fx has a list of its own
        return (tuple if isinstance(value, tuple) else list)(_resolved(each, values) for each in value)
    if isinstance(value, dict):
        return {key: _resolved(each, values) for key, each in value.items()}
    return value


def _maps_in(value: Any) -> Iterator[Map]:
    if isinstance(value, Map):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _maps_in(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _maps_in(each)
