"""Which operations of a SavedModel run: what its signatures and its loader reach.

A network carries operations that save and restore its variables, and they take a path. TensorFlow
does not run them when it loads a network and calls a signature, unless something leads to them: an
input, a control input, a function in an attribute (of calls, loops and branches), a function that
Grappler may put in place of another, or an object that runs a function when it is loaded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

STARTUP_SIGNATURE = "__saved_model_init_op"
# Collections of TensorFlow 1 that name what runs at loading.
_STARTUP_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
# Functions with the same value of this attribute may replace one another.
_INTERCHANGEABLE = "api_implements"
_PASSING = ("Identity", "PlaceholderWithDefault")
_RESTORING = "RestoreV2"


class _Place(NamedTuple):
    """A function by its name, or a node of the graph by its own, "" for the other."""

    function: str
    node: str


class _Graph:
    """The nodes and functions of a graph by name; several of one name count as one."""

    def __init__(self, meta_graph: Any) -> None:
        self.nodes: dict[str, list[Any]] = defaultdict(list)
        for node in meta_graph.graph.nodes:
            self.nodes[node.name].append(node)
        library = meta_graph.graph.library
        self.bodies: dict[str, list[Any]] = defaultdict(list)
        self._alike: dict[str, set[str]] = defaultdict(set)
        self._more: dict[str, set[str]] = defaultdict(set)
        by_value: dict[bytes, set[str]] = defaultdict(set)
        for function in library.functions:
            name = function.signature.name
            self.bodies[name] += function.nodes
            for attribute in function.attributes:
                self._more[name].update(_functions_in(attribute.value))
                if attribute.key == _INTERCHANGEABLE:
                    by_value[attribute.value.text].add(name)
        for names in by_value.values():
            for name in names:
                self._alike[name] |= names
        for gradient in library.gradients:
            self._more[gradient.function].add(gradient.gradient)

    def nodes_from(self, starts: Iterable[_Place]) -> Iterator[Any]:
        """Yield every node that runs when the given places do."""
        waiting, seen = [*starts], set[_Place]()
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            if place.function:
                names = self._alike[place.function] | self._more[place.function]
                waiting += [_Place(name, "") for name in names]
            found = self.bodies[place.function] if place.function else self.nodes[place.node]
            for node in found:
                yield node
                waiting += [_Place(name, "") for name in self._called(node)]
                if not place.function:
                    waiting += [_Place("", node_of(name)) for name in node.inputs]

    def _called(self, node: Any) -> Iterator[str]:
        if node.op in self.bodies:  # a function may be called by its name, also by an operation's
            yield node.op
        for attribute in node.attributes:
            yield from _functions_in(attribute.value)


def _functions_in(value: Any) -> Iterator[str]:
    """Yield the functions that an attribute names, also in attributes of those."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        for named in (value.function, *value.list.functions):
            if named.name:
                yield named.name
            waiting += [attribute.value for attribute in named.attributes]


def node_of(tensor: str) -> str:
    """Return the node of an input: "^name" for control, "name:1" for a second output."""
    return tensor.removeprefix("^").partition(":")[0]


def running(meta_graph: Any) -> list[Any]:
    """Return the nodes that run at loading and in any signature.

    Args:
        meta_graph: the message `MetaGraph` of `edgezoo.formats.keras_files.saved_model`.
    """
    starts = [
        _Place("", node_of(entry.value.name))
        for signature in meta_graph.signatures
        for entry in (*signature.value.inputs, *signature.value.outputs)
    ]
    # The functions of the objects: TensorFlow 2 calls these, not what the signatures name, and
    # some when it loads an object. Those that save and restore belong to no object.
    starts += [_Place(entry.key, "") for entry in meta_graph.objects.functions]
    for collection in meta_graph.collections:
        if collection.key in _STARTUP_COLLECTIONS:
            starts += [_Place("", node_of(name)) for name in collection.value.nodes.values]
    graph = _Graph(meta_graph)
    found = list(graph.nodes_from(starts))
    if not meta_graph.objects.nodes:  # of TensorFlow 1, whose loader runs the graph's own restoring
        restored = graph.nodes_from([_Place("", node_of(meta_graph.saver.restore))])
        found += [node for node in restored if not _from_next_to_the_file(node, meta_graph, graph)]
    return found


def _from_next_to_the_file(node: Any, meta_graph: Any, graph: _Graph) -> bool:
    """Whether a node restores variables from the path that the loader gives, and no other."""
    if node.op != _RESTORING or not node.inputs:
        return False
    name, given = node_of(node.inputs[0]), node_of(meta_graph.saver.filename)
    for _ in range(len(graph.nodes)):
        if name == given:
            return len(graph.nodes[name]) == 1
        before = graph.nodes[name]
        if len(before) != 1 or before[0].op not in _PASSING or not before[0].inputs:
            return False
        name = node_of(before[0].inputs[0])
    return False
