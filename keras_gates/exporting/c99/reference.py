"""Answers of the runtime whose arithmetic the C has: LiteRT's reference kernels, or TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gates.edge.runtime import Runtime, call_litert, probe
from keras_gates.edge.tflite import EdgeError, read
from keras_gates.edge.values import fed_back, stored
from keras_gates.exporting.c99.graph import Graph
from keras_gates.exporting.c99.sums import answers_around, sums
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.subprocess_worker import ChildError
from keras_gates.exporting.verify import tflm

CALLS = 6  # of a sequence for a file with explicit memory


class ReferenceRuntime(Runtime):
    """LiteRT with its reference kernels: its default gives some operators to XNNPACK, which rounds otherwise."""

    def open(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        def opened(resolver: Any) -> Any:
            return call_litert(
                Interpreter, model_content=self._data, experimental_op_resolver_type=resolver, num_threads=1
            )

        try:
            return opened(OpResolverType.BUILTIN_REF)
        except EdgeError as error:
            tensors = (tensor for subgraph in read(self._data).subgraphs for tensor in subgraph.tensors)
            if "Didn't find op" not in str(error) or any(tensor.dtype in ("int8", "int16") for tensor in tensors):
                raise
        # no reference kernel of this operator (ELU); float kernels differ by roundings only
        return opened(OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def answers(
    data: bytes, graph: Graph, arithmetic: str, samples: Sequence[Sequence[np.ndarray]]
) -> list[list[np.ndarray]]:
    """Run samples, each from reset memory.

    Args:
        data: Bytes of the file.
        graph: What `graph_of` returned for them.
        arithmetic: "litert" or "tflm".
        samples: Per sample its inputs in the file's own types, in the order of `graph.inputs`; with explicit memory each has
            an axis of calls in front.

    Returns:
        Per sample its outputs in the order of `graph.outputs`.

    Raises:
        ExportError: The runtime is not installed or refuses the file.
    """
    file = read(data)
    if arithmetic == "tflm":
        return _tflm_answers(data, graph, samples)
    results = []
    try:
        if not file.sealed:
            probe(data)
        if sums(graph):
            return [answers_around(data, graph, sample) for sample in samples]
        runtime = ReferenceRuntime(data, file, graph.description)
        for sample in samples:
            runtime.reset()
            results.append(_litert_answers(runtime, graph, sample))
    except EdgeError as error:
        raise ExportError(str(error)) from error
    return results


def _litert_answers(runtime: Runtime, graph: Graph, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
    description = graph.description
    asked = [place for place, _ in description.predictions]
    if not graph.memory:
        values = runtime.run(sample)
        return [np.array(values[place]) for place in asked]
    states = {pair.source: stored(description.inputs[pair.source], {}) for pair in description.memory}
    calls = []
    for call in zip(*sample):
        rest = iter(call)
        values = runtime.run([states[i] if i in states else next(rest) for i in range(len(description.inputs))])
        for pair in description.memory:
            one, other = description.inputs[pair.source], description.outputs[pair.result]
            states[pair.source] = fed_back(one, other, np.array(values[pair.result]))
        calls.append([np.array(values[place]) for place in asked])
    return [np.stack(column) for column in zip(*calls)]


def _tflm_answers(data: bytes, graph: Graph, samples: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    if not tflm.available():
        raise ExportError("arithmetic='tflm' records TFLM's answers for the self-test: pip install --pre tflite-micro.")
    subgraph = read(data).subgraphs[0]
    order = [*(value.index for value in graph.inputs), *(source.index for source, *_ in graph.memory)]
    zeros = [stored(port, {}) for _, _, port, _ in graph.memory]
    back = [subgraph.outputs.index(value.index) for value in graph.outputs]
    sequences = []
    for sample in samples:
        calls = [[*call, *zeros] for call in (zip(*sample) if graph.memory else [sample])]
        sequences.append([[call[order.index(index)] for index in subgraph.inputs] for call in calls])
    try:
        results, _ = tflm.run_tflm(data, sequences, graph.description.feedback(subgraph))
    except ChildError as error:
        raise ExportError(
            f"TFLM does not run this file, so the C cannot be checked with its arithmetic: {str(error).splitlines()[-1]}"
        ) from error
    if graph.memory:
        return [[np.stack([call[place] for call in calls]) for place in back] for calls in results]
    return [[calls[0][place] for place in back] for calls in results]


def random_inputs(graph: Graph, count: int, seed: int = 0) -> list[list[np.ndarray]]:
    """Return inputs over the whole range of their types: tokens that exist, lengths that fit.

    Args:
        graph: The graph.
        count: Number of samples.
        seed: Random seed.
    """
    random, samples = np.random.default_rng(seed), []
    for _ in range(count):
        sample = []
        for value in graph.inputs:
            port = graph.ports[value.index]
            shape = (CALLS, *value.shape) if graph.memory else value.shape
            if value.dtype == "float32":
                values: np.ndarray = random.normal(size=shape)
            elif value.dtype == "int32":
                values = random.integers(0, _limit(graph, value.index, port.role == "lengths"), shape)
            else:
                info = np.iinfo(value.dtype)
                values = random.integers(info.min, info.max + 1, shape)
            sample.append(np.asarray(values, value.dtype))
        samples.append(sample)
    return samples


def _limit(graph: Graph, index: int, lengths: bool) -> int:
    """Return the first number that is out of range for an int32 input."""
    if lengths:
        return min((port.steps for port in graph.description.events if port.time), default=0) + 1
    tables = [
        node.input(0).shape[node.options["axis"]]
        for node in graph.nodes
        if node.kind == "GATHER" and node.input(1).index == index
    ]
    return min(tables, default=1000)
