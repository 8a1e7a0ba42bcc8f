"""LiteRT's answers to a file with an integer SUM: its reference kernel (2.3) reads int8 as uint8, so the sum is computed here.

The file runs up to the SUM, the sum is computed as later versions of the kernel and TFLM do, and the rest runs from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gates.edge.runtime import call_litert
from keras_gates.exporting.c99.fixed_point import decompose, scaled
from keras_gates.exporting.c99.graph import Graph, Node
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite.flatbuffer import dump, load


def sums(graph: Graph) -> list[Node]:
    """Return the SUM operators of integers."""
    return [node for node in graph.nodes if node.kind == "SUM" and node.input(0).dtype in ("int8", "int16")]


def answers_around(data: bytes, graph: Graph, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run one sample of a file that has one integer SUM; arguments as in `reference.answers`.

    Raises:
        ExportError: It has several, or explicit memory.
    """
    nodes = sums(graph)
    if len(nodes) != 1 or graph.memory:
        raise ExportError("the C takes one SUM of integers per file, without explicit memory; use TFLM's arithmetic.")
    (node,) = nodes
    x, y = node.input(0), node.output
    given = dict(zip((value.index for value in graph.inputs), sample))
    before = load(data)
    before.subgraphs[0].outputs = [x.index]
    (summands,) = _run(before, given, [x.index])
    axes = tuple(int(axis) for axis in np.atleast_1d(node.constant(1)).reshape(-1))
    whole = (summands.astype(np.int64) - x.zero).sum(axes).reshape(y.shape)
    pair = decompose(float(x.scale) / float(y.scale))
    info = np.iinfo(y.dtype)
    rescaled = np.array([scaled(int(value), *pair) + y.zero for value in whole.reshape(-1)]).reshape(y.shape)
    after = load(data)
    subgraph = after.subgraphs[0]
    subgraph.operators = [operator for operator in subgraph.operators if list(operator.outputs) != [y.index]]
    subgraph.inputs = [*subgraph.inputs, y.index]
    given[y.index] = np.clip(rescaled, info.min, info.max).astype(y.dtype)
    return _run(after, given, [value.index for value in graph.outputs])


def _run(model: Any, given: dict[int, np.ndarray], wanted: list[int]) -> list[np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    model.signatureDefs = None
    resolver = OpResolverType.BUILTIN_REF
    interpreter = call_litert(
        Interpreter, model_content=dump(model), experimental_op_resolver_type=resolver, num_threads=1
    )
    call_litert(interpreter.allocate_tensors)
    for index, value in given.items():
        call_litert(interpreter.set_tensor, index, value)
    call_litert(interpreter.invoke)
    return [np.array(call_litert(interpreter.get_tensor, index)) for index in wanted]
