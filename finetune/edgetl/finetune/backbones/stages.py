"""A backbone as an ordered list of stages from stem to head, and as two modules cut between any two of them.

The forward pass is traced with the blocks of the architecture as opaque calls, so what happens inside a block
(dropout, stochastic depth, attention) stays a module that knows whether it trains. A *cut* is a place in the traced
pass where one tensor carries everything that is still needed.
"""

import inspect
import os.path
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from torch import fx, nn

from edgetl.errors import ConfigError, suggest
from edgetl.finetune.backbones.registry import head_name

CHAINS = (nn.Sequential, nn.ModuleList)
RANDOM = ("Dropout", "DropPath", "StochasticDepth")


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A block, with the norms, activations and pooling that follow it; the head is the last Linear with its dropout.

    `name` is a dotted module path, `modules` are those that run in it and have tensors of their own or no children,
    `parameters` the dotted names of its parameters (class token and position embedding belong to the stem).
    """

    name: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of a traced pass: the name of the module path it is called by, its nodes, the tensor it hands on."""

    name: str
    nodes: list[fx.Node]
    carries: fx.Node


def stages(model: nn.Module) -> tuple[Stage, ...]:
    """From stem to head. Every parameter of `model` belongs to exactly one stage.

    A model that cannot be traced has its top-level children as stages. Raises ConfigError for one without a head.
    """
    head = head_name(model)
    graph = _trace(model)
    if graph is None:
        called = _children(model, head)
    else:
        called = [(step.name, _called(step.nodes)) for step in _steps(model, graph, head)]
    owner = {key: place for place, (_, targets) in reversed([*enumerate(called)]) for key in _held(model, targets)}
    return tuple(
        Stage(
            name=name,
            modules=_leaves(model, targets),
            parameters=tuple(key for key, _ in model.named_parameters() if owner.get(key, 0) == place),
        )
        for place, (name, targets) in enumerate(called)
    )


def split(model: nn.Module, boundary: int) -> tuple[nn.Module, nn.Module]:
    """(frozen, rest) with `rest(frozen(x)) == model(x)`; frozen runs `stages(model)[:boundary]`.

    Both share the model's modules and parameters. Raises ConfigError for a model that cannot be cut inside.
    """
    graph = _trace(model)
    if graph is None:
        raise ConfigError(
            f"`{type(model).__name__}` cannot be cut inside; its activations are not cached",
            hint="its forward pass depends on values, which tracing cannot follow",
        )
    steps = _steps(model, graph, head_name(model))
    if not 0 <= boundary <= len(steps):
        raise ConfigError(f"there is no boundary {boundary}", hint=f"the model has {len(steps)} stages")
    if boundary == 0:
        return nn.Identity(), model
    if boundary == len(steps):
        return model, nn.Identity()
    carried = steps[boundary - 1].carries
    first, second = ([node for step in half for node in step.nodes] for half in (steps[:boundary], steps[boundary:]))
    shared = [node for node in first if node.op == "get_attr" and set(node.users) & set(second)]
    return _module(model, first, result=carried), _module(model, [*shared, *second], given=carried)


def boundary_of(found: Sequence[Stage], spec: str) -> int:
    """How many stages `--freeze` asks for, from the stem on; the head is never frozen.

    `spec` is a number (`4`), a fraction of the stages below the head (`0.75`), or the name of a stage or of what
    holds several (`layer3`), frozen up to and including it. Raises ConfigError.
    """
    below = [stage.name for stage in found[:-1]]
    inside = [i for i, name in enumerate(below) if name == spec or name.startswith(f"{spec}.")]
    if inside:
        return inside[-1] + 1
    try:
        asked = int(spec) if spec.lstrip("+-").isdigit() else float(spec) * len(below)
        number = round(asked)
    except (ValueError, OverflowError):
        hint = suggest(spec, below, what="a number, a fraction from 0 to 1, or a stage")
        raise ConfigError(f"no stage below the head is called `{spec}`", hint=hint) from None
    if not 0 <= asked <= len(below):
        hint = f"0 to {len(below)} stages, or a fraction from 0.0 to 1.0 of those below the head"
        raise ConfigError(f"`{spec}` stages cannot be frozen", hint=hint)
    return number


class BlockTracer(fx.Tracer):
    """Looks into chains of blocks, what holds them and what holds the head; every other module is one call."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.head = head

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not (self.head.startswith(f"{module_qualified_name}.") or _opens(m))


def _opens(module: nn.Module) -> bool:
    """A chain with several weighty members, or what is no chain itself and holds one of several whole blocks.

    A convolution with its norm and activation is one block, and so is an inverted residual, which chains those.
    """
    if isinstance(module, CHAINS):
        return sum(_weighty(child) for child in module) > 1
    chains = (child for child in module.children() if isinstance(child, CHAINS))
    return any(sum(not isinstance(block, CHAINS) and any(block.children()) for block in chain) > 1 for chain in chains)


def _weighty(module: nn.Module) -> bool:
    """Whether it holds a matrix or a kernel; a norm has vectors only."""
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _trace(model: nn.Module) -> fx.Graph | None:
    """The forward pass as a graph of blocks, or None where it cannot be had or differs between training and not.

    Arguments other than the image take their defaults.
    """
    defaults = [each for each in inspect.signature(model.forward).parameters.values() if each.default is not each.empty]
    modes = {module: module.training for module in model.modules()}
    graphs = []
    try:
        for training in (False, True):
            for module in modes:
                module.training = training
            graphs.append(BlockTracer(head_name(model)).trace(model, {each.name: each.default for each in defaults}))
    except Exception:  # noqa: BLE001 - whatever a model's own code raises when it is given a stand-in for a tensor
        return None
    finally:
        for module, mode in modes.items():
            module.training = mode
    for graph in graphs:
        _drop_defaults(graph)
    return graphs[0] if str(graphs[0]) == str(graphs[1]) else None


def _drop_defaults(graph: fx.Graph) -> None:
    """Removes the placeholders of defaults, and the nodes that assert their values."""
    for node in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        _erase(graph, node)


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    for user in list(node.users):
        _erase(graph, user)
    graph.erase_node(node)


def _cuts(nodes: Sequence[fx.Node]) -> dict[int, fx.Node]:
    """Position → the tensor that alone is needed after the node there. Parameters can be fetched again."""
    place = {node: i for i, node in enumerate(nodes)}
    alive: dict[fx.Node, int] = {}
    cuts = {}
    for i, node in enumerate(nodes[:-1]):
        if node.op != "get_attr" and node.users:
            alive[node] = max(place[user] for user in node.users)
        alive = {each: last for each, last in alive.items() if last > i}
        if i and len(alive) == 1 and not _unpacked(only := next(iter(alive))):
            cuts[i] = only
    return cuts


def _unpacked(node: fx.Node) -> bool:
    """Whether several values travel in this one: a tuple, taken apart by the nodes that follow."""
    return any(
        user.op == "call_function" and isinstance(user.args[-1], int) and "getitem" in user.name for user in node.users
    )


def _steps(model: nn.Module, graph: fx.Graph, head: str) -> list[Step]:
    """The graph between its cuts, grouped: what has no weights belongs to the block before it, dropout to the next."""
    nodes = list(graph.nodes)
    cuts = _cuts(nodes) | {len(nodes) - 1: nodes[-1]}
    groups: list[tuple[list[fx.Node], fx.Node]] = []
    pending: list[fx.Node] = []
    names: list[str] = []
    start = 0
    for end, carried in cuts.items():
        segment, start = nodes[start : end + 1], end + 1
        weighty = [target for target in _called(segment) if _weighty_at(model, target)]
        headed = bool(groups) and any(_within(head, target) for target in _called(groups[-1][0]))
        if weighty and not headed:
            groups.append(([*pending, *segment], carried))
            names.append(_common(weighty))
            pending = []
        elif groups and (headed or not (pending or _is_random(model, segment))):
            groups[-1] = ([*groups[-1][0], *segment], carried)
        else:
            pending += segment
    names[-1] = head
    return [Step(name=name, nodes=part, carries=last) for name, (part, last) in zip(names, groups, strict=True)]


def _weighty_at(model: nn.Module, target: str) -> bool:
    found = _attribute(model, target)
    return isinstance(found, nn.Module) and _weighty(found)


def _is_random(model: nn.Module, segment: Iterable[fx.Node]) -> bool:
    """A frozen part does not drop anything, so what drops must stay on the side that learns."""
    called = [type(_attribute(model, target)).__name__ for target in _called(segment)]
    return any(name.startswith(RANDOM) for name in called)


def _called(nodes: Iterable[fx.Node]) -> list[str]:
    """The dotted names of the modules and parameters the nodes use, each once."""
    return list(dict.fromkeys(str(node.target) for node in nodes if node.op in ("call_module", "get_attr")))


def _attribute(model: nn.Module, target: str) -> Any:
    holder, _, name = target.rpartition(".")
    return getattr(model.get_submodule(holder), name)


def _within(name: str, holder: str) -> bool:
    return name == holder or name.startswith(f"{holder}.")


def _common(names: Sequence[str]) -> str:
    """The deepest module that holds all of `names`; the first of them where that is the model."""
    shared = os.path.commonpath([name.replace(".", "/") for name in names]).replace("/", ".")
    return shared or names[0]


def _held(model: nn.Module, targets: Iterable[str]) -> list[str]:
    return [key for target in targets for key, _ in model.named_parameters() if _within(key, target)]


def _leaves(model: nn.Module, targets: Iterable[str]) -> tuple[str, ...]:
    """A norm that carries its activation as a child counts too: it has buffers of its own."""
    found: list[str] = []
    for target in targets:
        held = _attribute(model, target)
        if isinstance(held, nn.Module):
            inner = held.named_modules(prefix=target)
            found += [name for name, module in inner if _is_leaf(module)]
    return tuple(found)


def _is_leaf(module: nn.Module) -> bool:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return bool(own) or not any(module.children())


def _children(model: nn.Module, head: str) -> list[tuple[str, list[str]]]:
    """The top-level children with weights, in their order of registration; norms belong to the child before."""
    groups: list[tuple[str, list[str]]] = []
    last = head.partition(".")[0]
    for name, child in model.named_children():
        if not groups or (_weighty(child) and name != last):
            groups.append((name, [name]))
        elif name != last:
            groups[-1][1].append(name)
    return [*groups, (head, [last])]


def _module(
    model: nn.Module, nodes: Sequence[fx.Node], *, given: fx.Node | None = None, result: fx.Node | None = None
) -> fx.GraphModule:
    """The nodes as a module over the model's own submodules: from the image or `given`, to its output or `result`."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    if given is not None:
        copies[given] = graph.placeholder("activations")
    for node in nodes:
        copies[node] = graph.node_copy(node, lambda each: copies[each])
    if result is not None:
        graph.output(copies[result])
    graph.lint()
    return fx.GraphModule(model, graph, class_name=type(model).__name__)
