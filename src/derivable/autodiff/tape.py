"""Reverse mode by overloading: a list of everything a program did, read backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derivable.autodiff.overloading import Overloaded, fresh_level, partial

__all__ = ["Node", "Tape"]


class Node(Overloaded):
    """Represent one line of a tape: a value, the operation that gave it, and its partial derivatives.

    Attributes:
        tape: the tape on which it stands.
        index: its place there.
        name: its name in tables and drawings.
        operation: NumPy's name of the operation; empty for a variable.
        inputs: the operation's arguments, nodes of this tape or constants.
        value: the result.
        partials: for each argument that is a node, (its index, the partial derivative by it).
    """

    def __init__(self, tape: Tape, name: str, operation: str, inputs: tuple[Any, ...], value: Any) -> None:
        self.tape, self.index, self.level = tape, len(tape.nodes), tape.level
        self.name, self.operation, self.inputs, self.value = name, operation, inputs, value
        plain = tuple(x.value if tape.holds(x) else x for x in inputs)
        self.partials = tuple(
            (x.index, partial(operation, i, plain, value)) for i, x in enumerate(inputs) if tape.holds(x)
        )
        tape.nodes.append(self)
        tape.steps += bool(operation)

    def _apply(self, function: Callable[..., Any], inputs: tuple[Any, ...], level: int) -> Node:
        tape = next(x.tape for x in inputs if isinstance(x, Node) and x.level == level)
        value = function(*(x.value if tape.holds(x) else x for x in inputs))
        return Node(tape, f"v{tape.steps + 1}", function.__name__, inputs, value)


class Tape:
    """Record a program as a list of elementary operations (a Wengert list) and differentiate it backwards.

    Numbers made by `variable` record what is done with them. `adjoints` then walks the list from its end and
    gives the derivative of one result by every line, in one pass, however many variables there are. Arrays of
    variables are arrays of nodes.

    Attributes:
        nodes: the lines, in the order in which they were computed.
        steps: the number of operations, that is, of lines that are no variables.
        level: which derivative the tape belongs to.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        tape = dv.Tape()
        x, y = tape.variable(3.0, "x"), tape.variable(2.0, "y")
        z = x * x * y
        print(z.value, *tape.gradient(z, (x, y)))
        #> 18.0 12.0 9.0
        ```

    References:
        Wengert, A simple automatic derivative evaluation program, 1964 (the list).
        Linnainmaa, Taylor expansion of the accumulated rounding error, 1976 (read backwards).
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.steps = 0
        self.level = fresh_level()

    def holds(self, x: Any) -> bool:
        """Say whether `x` is a node of this tape."""
        return isinstance(x, Node) and x.tape is self

    def variable(self, value: Any, name: str | None = None) -> Any:
        """Put a variable on the tape: a node for a number, an array of nodes for an array."""
        if isinstance(value, Overloaded) or np.ndim(value) == 0:
            number = float(value) if isinstance(value, (int, np.integer)) else value
            return Node(self, name or f"x{len(self.nodes) - self.steps + 1}", "", (), number)
        array = np.asarray(value)
        nodes = np.empty(array.shape, dtype=object)
        for index in np.ndindex(array.shape):
            label = ",".join(map(str, index))
            nodes[index] = self.variable(array[index], f"{name or 'x'}[{label}]")
        return nodes

    def tangents(self, seeds: dict[int, Any]) -> list[Any]:
        """Walk forwards: return each line's derivative in a direction, given by variables' indices."""
        tangents: list[Any] = []
        for node in self.nodes:
            tangent = seeds.get(node.index, 0.0)
            for parent, slope in node.partials:
                tangent = tangent + slope * tangents[parent]
            tangents.append(tangent)
        return tangents

    def adjoints(self, output: Node, seed: Any = 1.0) -> list[Any]:
        """Walk backwards: return the derivative of `output` by each line, times `seed`."""
        if not self.holds(output):
            raise ValueError("output must be a node of this tape; is it a constant, or on another tape?")
        adjoints = {output.index: seed}
        for node in reversed(self.nodes[: output.index + 1]):
            if node.index in adjoints:  # else `output` does not depend on this line
                for parent, slope in node.partials:
                    share = adjoints[node.index] * slope
                    adjoints[parent] = adjoints[parent] + share if parent in adjoints else share
        return [adjoints.get(node.index, 0.0) for node in self.nodes]

    def gradient(self, output: Any, variables: Any) -> Any:
        """Return the derivatives of `output` by `variables`: a node, a tuple, or an array of nodes."""
        if isinstance(output, np.ndarray) and not output.ndim:  # as np.where makes them
            output = output[()]
        adjoints = self.adjoints(output)
        if isinstance(variables, Node):
            return adjoints[variables.index]
        if isinstance(variables, np.ndarray):
            flat = [adjoints[node.index] for node in variables.flat]
            return np.array(flat).reshape(variables.shape)
        return tuple(adjoints[node.index] for node in variables)
