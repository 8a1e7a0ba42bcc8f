"""One LiteRT interpreter under one file: resized where time varies, run, reset, its memory read and set."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_gates.edge.description import Description
from keras_gates.edge.tflite import EdgeError, Tensor, TFLite

_PROBE = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_content=sys.stdin.buffer.read())
def ones(detail):
    return np.ones(detail["shape"], detail["dtype"])
interpreter.allocate_tensors()
for detail in interpreter.get_input_details():
    interpreter.set_tensor(detail["index"], ones(detail))
interpreter.invoke()
for key in interpreter.get_signature_list():
    runner = interpreter.get_signature_runner(key)
    runner(**{name: ones(detail) for name, detail in runner.get_input_details().items()})
"""


def probe(data: bytes, seconds: float = 60) -> None:
    """Run a file once in a child process, so that what kills LiteRT does not kill this process.

    Raises:
        EdgeError: the child was killed, or did not end within `seconds`.
    """
    try:
        child = subprocess.run([sys.executable, "-c", _PROBE], input=data, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise EdgeError(
            f"LiteRT did not get through this file within {seconds} s: it is damaged, or far too big."
        ) from None
    if child.returncode < 0 or child.returncode > 128:
        raise EdgeError(
            f"this file crashes LiteRT (signal {-child.returncode}): it is damaged, or made for another runtime."
        )


class Runtime:
    """An interpreter with its own memory; the weights are shared with every other one over the same bytes.

    Args:
        data: the bytes of the file.
        file: what `keras_gates.edge.tflite.read` found in them.
        description: what `keras_gates.edge.description.describe` made of it.
        num_threads: threads for the kernels that can use several.
        interpreter: an open interpreter with the methods of LiteRT's, to run instead of a new one.
    """

    def __init__(
        self, data: bytes, file: TFLite, description: Description, num_threads: int = 1, interpreter: Any = None
    ):
        self.description = description
        self._interpreter = interpreter or _open(data, num_threads)
        self._runner = None
        if description.subgraph:
            self._runner = _litert(self._interpreter.get_signature_runner, description.signature.key)
        else:
            _litert(self._interpreter.allocate_tensors)
        self._shapes = [port.tensor.shape for port in description.inputs]
        if description.variables and len(file.signatures) > 1:
            self._allocate_all(file)
        self.reset()

    def _allocate_all(self, file: TFLite) -> None:
        """Memory can be reset only when every graph has its own: run each signature once."""
        for key in file.signatures:
            runner = _litert(self._interpreter.get_signature_runner, key)
            details = runner.get_input_details().items()
            _litert(runner, **{name: np.ones(detail["shape"], detail["dtype"]) for name, detail in details})

    def reset(self) -> None:
        """Empty the memory that operators keep between calls."""
        if self.description.variables:
            _litert(self._interpreter.reset_all_variables)

    def run(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One call: arrays in the file's own types, in the order of its inputs, to arrays in the order of its outputs."""
        inputs, outputs = self.description.inputs, self.description.outputs
        if self._runner is not None:
            named = _litert(self._runner, **{port.name: value for port, value in zip(inputs, values)})
            return [named[port.name] for port in outputs]
        shapes = [value.shape for value in values]
        if shapes != self._shapes:
            self._resize(shapes)
        for port, value in zip(inputs, values):
            _litert(self._interpreter.set_tensor, port.tensor.index, value)
        _litert(self._interpreter.invoke)
        return [_litert(self._interpreter.get_tensor, port.tensor.index) for port in outputs]

    def _resize(self, shapes: list[tuple[int, ...]]) -> None:
        memory = self.memory
        for port, shape in zip(self.description.inputs, shapes):
            _litert(self._interpreter.resize_tensor_input, port.tensor.index, shape)
        _litert(self._interpreter.allocate_tensors)
        self._shapes = shapes
        self.memory = memory

    @property
    def memory(self) -> dict[str, np.ndarray]:
        """What the operators remember, in the file's own types: ``memory_0``, ``memory_1``, … Setting it puts it back."""
        return {f"memory_{i}": _litert(self._interpreter.get_tensor, t.index) for i, t in enumerate(self._variables())}

    @memory.setter
    def memory(self, values: Mapping[str, np.ndarray]) -> None:
        for i, tensor in enumerate(self._variables()):
            _litert(self._interpreter.set_tensor, tensor.index, values[f"memory_{i}"])

    def _variables(self) -> tuple[Tensor, ...]:
        if self.description.variables and self.description.subgraph:
            raise EdgeError("LiteRT's Python gives memory only from a file's first graph; export one signature a file.")
        return self.description.variables


def _open(data: bytes, num_threads: int) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise EdgeError(f"expected the LiteRT runtime, got {error}; install it: pip install ai-edge-litert") from None
    return _litert(Interpreter, model_content=data, num_threads=num_threads)


def _litert(call: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return call(*args, **kwargs)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise EdgeError(f"LiteRT refuses: {reason or type(error).__name__}") from error
