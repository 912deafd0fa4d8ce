"""Cutting a network in two: the part that works on positions, and the part that concludes from them."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from fastwsi.nn.dense_pool import DensePool2d


def split(model: torch.nn.Module, at: str) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Cut a network behind one of its modules, into a trunk and a head.

    Both share the model's modules, parameters and their names: ``head(trunk(x))`` is ``model(x)``, what
    trains them trains the model, and checkpoints of the model's parts load into them.

    Parameters
    ----------
    model : torch.nn.Module
        Any network that ``torch.fx`` can trace, with one input.
    at : str
        Path of the module whose output goes from the trunk to the head, as in ``model.named_modules()``:
        "layer3", or "layer4.0".

    Returns
    -------
    trunk, head : torch.fx.GraphModule
        In the model's mode, training or eval.

    Raises
    ------
    ValueError
        Where there is no such module, it is not used exactly once, or more than its output crosses the cut.

    Examples
    --------
    >>> import torch
    >>> model = fastwsi.nn.resnet18(num_classes=2).eval()
    >>> trunk, head = fastwsi.nn.split(model, "layer3")
    >>> image = torch.randn(1, 3, 96, 64)
    >>> trunk(image).shape, bool(torch.equal(head(trunk(image)), model(image)))
    (torch.Size([1, 256, 6, 4]), True)
    """
    paths = [name for name, _ in model.named_modules() if name]
    if at not in paths:
        top = ", ".join(name for name, _ in model.named_children())
        raise ValueError(f"at: got {at!r}, expected the path of a module, such as {top}")
    tracer = ModuleTracer(at)
    graph = tracer.trace(model)
    if len(tracer.outputs) != 1 or not isinstance(tracer.outputs[0], fx.Proxy):
        what = f"{len(tracer.outputs)} calls" if len(tracer.outputs) != 1 else "an output that is no tensor"
        raise ValueError(f"at: got {at!r} with {what}, expected a module that is called once for one tensor")
    cut = tracer.outputs[0].node
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise ValueError(f"model: got {len(inputs)} inputs, expected 1")
    before = _with_inputs(cut)
    return (
        _module(model, _trunk(graph, cut, before), "Trunk"),
        _module(model, _head(graph, cut, before, at), "Head"),
    )


class _Proxy(fx.Proxy):
    """A tensor to come, whose ``x += y`` stays in place.

    torch.fx takes it for ``x = x + y``, after which other names of x keep its old values.
    """

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})


class ModuleTracer(fx.Tracer):
    """Traces a network and remembers what one module returned; torch's modules and our own stay whole."""

    def __init__(self, watched: str = "") -> None:
        super().__init__()
        self._watched = watched
        self.outputs: list[Any] = []

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return what stands for a node's value."""
        return _Proxy(node, self)

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a module is traced as one call."""
        return isinstance(m, DensePool2d) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: torch.nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace one module's call."""
        found = super().call_module(m, forward, args, kwargs)
        if self.path_of_module(m) == self._watched:
            self.outputs.append(found)
        return found


def _with_inputs(node: fx.Node) -> set[fx.Node]:
    """Return a node and all that it is computed from."""
    found, left = set(), [node]
    while left:
        here = left.pop()
        if here not in found:
            found.add(here)
            left += here.all_input_nodes
    return found


def _trunk(graph: fx.Graph, cut: fx.Node, before: set[fx.Node]) -> fx.Graph:
    trunk = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in before:
            copies[node] = trunk.node_copy(node, copies.__getitem__)
    trunk.output(copies[cut])
    return trunk


def _head(graph: fx.Graph, cut: fx.Node, before: set[fx.Node], at: str) -> fx.Graph:
    head = fx.Graph()
    copies = {cut: head.placeholder("features")}
    (output,) = (node for node in graph.nodes if node.op == "output")
    needed = _with_inputs(output)
    for node in graph.nodes:
        if node not in needed or (node in before and node.op != "get_attr") or node is output:
            continue
        for used in node.all_input_nodes:
            if used in before and used is not cut and used.op != "get_attr":
                raise ValueError(
                    f"at: got {at!r}, past which {used.name} is needed as well (by {node.name}), expected a "
                    "module whose output is all that the rest of the network needs"
                )
        copies[node] = head.node_copy(node, copies.__getitem__)
    if cut is not output.args[0] and cut not in {used for node in copies for used in node.all_input_nodes}:
        raise ValueError(f"at: got {at!r}, whose output the network does not use, expected one that it does")
    head.output(fx.map_arg(output.args[0], copies.__getitem__))
    return head


def _module(model: torch.nn.Module, graph: fx.Graph, name: str) -> fx.GraphModule:
    module = fx.GraphModule(model, graph, name)
    module.training = model.training
    return module
