"""One LiteRT interpreter for one file: resized if time varies, run, reset, its memory read and set."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_gates.edge.description import Description
from keras_gates.edge.tflite import EdgeError, Tensor, TFLite
from keras_gates.edge.values import fed_back, stored

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
    """Run a file once in a subprocess, so that a crash of LiteRT does not end this process.

    Args:
        data: Bytes of the file.
        seconds: Time limit.

    Raises:
        EdgeError: The subprocess crashed or did not end in time.
    """
    try:
        child = subprocess.run([sys.executable, "-c", _PROBE], input=data, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise EdgeError(f"LiteRT did not run this file within {seconds} s: it is damaged, or too large.") from None
    if child.returncode < 0 or child.returncode > 128:
        raise EdgeError(
            f"this file crashes LiteRT (signal {-child.returncode}): it is damaged, or made for another runtime."
        )


class Runtime:
    """An interpreter with its own memory; it shares the weights with every other interpreter over the same bytes.

    Args:
        data: Bytes of the file.
        file: What `keras_gates.edge.tflite.read` returned for them.
        description: What `keras_gates.edge.description.describe` returned for `file`.
        num_threads: Threads for the kernels that can use several.

    Attributes:
        lock: To be held by threads that share the runtime: LiteRT's interpreters are not thread-safe.

    A pickled or copied runtime continues from the same memory, and so does one in a forked process.

    Raises:
        EdgeError: LiteRT is not installed, or refuses the file.
    """

    def __init__(self, data: bytes, file: TFLite, description: Description, num_threads: int = 1):
        self.description = description
        self._data, self._file, self._num_threads = data, file, num_threads
        self.lock = threading.RLock()
        self._load()
        self.reset()

    def open(self) -> Any:
        """Return a new LiteRT interpreter; a subclass may return another with the same methods.

        Raises:
            EdgeError: LiteRT is not installed, or refuses the file.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise EdgeError(
                f"expected the LiteRT runtime, got {error}; install it: pip install ai-edge-litert"
            ) from None
        return call_litert(Interpreter, model_content=self._data, num_threads=self._num_threads)

    def _load(self) -> None:
        description = self.description
        self._interpreter = self.open()
        self._process = os.getpid()
        self._runner = None
        if description.subgraph and description.signature:
            self._runner = call_litert(self._interpreter.get_signature_runner, description.signature.key)
        else:
            call_litert(self._interpreter.allocate_tensors)
        self._shapes = [port.tensor.shape for port in description.inputs]
        if description.variables and len(self._file.signatures) > 1:
            self._allocate_all()
        with _ALIVE_LOCK:
            _ALIVE.add(self)

    def _load_again_after_fork(self) -> None:
        """Replace an interpreter of the parent process, whose threads do not exist here; the memory stays."""
        if self._process != os.getpid():
            variables = self._variables()
            self._load()
            self._set_variables(variables)

    def __reduce__(self) -> tuple[Any, ...]:
        with self.lock:
            return _restored, (type(self), self._data, self._file, self.description, self._num_threads, self.memory)

    def _allocate_all(self) -> None:
        """Run each signature once, because variables can be reset only after every graph has allocated its own."""
        for key in self._file.signatures:
            runner = call_litert(self._interpreter.get_signature_runner, key)
            details = runner.get_input_details().items()
            call_litert(runner, **{name: np.ones(detail["shape"], detail["dtype"]) for name, detail in details})

    def reset(self) -> None:
        """Set STM and LTM to zero, those of the operators and explicit ones."""
        if self._process != os.getpid():
            self._load()
        if self.description.variables:
            call_litert(self._interpreter.reset_all_variables)
        inputs = self.description.inputs
        self._states = [stored(inputs[pair.source], {}) for pair in self.description.memory]

    def call(self, columns: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run the file once; its memory continues from the last call.

        Args:
            columns: Checked events and lengths by input name, with their batch axis.

        Returns:
            All outputs in the file's own types, in the order of `description.outputs`.

        Raises:
            EdgeError: LiteRT refuses a shape or type.
        """
        description = self.description
        results = self.run(self.values(columns))
        self._states = [
            fed_back(description.inputs[pair.source], description.outputs[pair.result], results[pair.result])
            for pair in description.memory
        ]
        return results

    def values(self, columns: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return what `run` takes for a call of `columns`: quantized events, lengths, explicit memory."""
        states = {pair.source: state for pair, state in zip(self.description.memory, self._states)}
        return [
            states[place] if place in states else stored(port, columns)
            for place, port in enumerate(self.description.inputs)
        ]

    def run(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Invoke the interpreter; explicit memory is among the values.

        Args:
            values: Arrays in the file's own types, in the order of its inputs.

        Returns:
            Arrays in the file's own types, in the order of its outputs.

        Raises:
            EdgeError: LiteRT refuses a shape or type.
        """
        self._load_again_after_fork()
        inputs, outputs = self.description.inputs, self.description.outputs
        if self._runner is not None:
            named = call_litert(self._runner, **{port.name: value for port, value in zip(inputs, values)})
            return [named[port.name] for port in outputs]
        shapes = [value.shape for value in values]
        if shapes != self._shapes:
            self._resize(shapes)
        for port, value in zip(inputs, values):
            call_litert(self._interpreter.set_tensor, port.tensor.index, value)
        call_litert(self._interpreter.invoke)
        return [call_litert(self._interpreter.get_tensor, port.tensor.index) for port in outputs]

    def _resize(self, shapes: list[tuple[int, ...]]) -> None:
        variables = self._variables()
        for port, shape in zip(self.description.inputs, shapes):
            call_litert(self._interpreter.resize_tensor_input, port.tensor.index, shape)
        call_litert(self._interpreter.allocate_tensors)
        self._shapes = shapes
        self._set_variables(variables)  # allocating clears them

    @property
    def memory(self) -> dict[str, np.ndarray]:
        """STM and LTM in the file's own types; setting it continues from there.

        ``memory_0``, ``memory_1``, … are those of the operators, ``state_0``, ``state_1``, … explicit ones.
        """
        self._load_again_after_fork()
        return {**self._variables(), **{f"state_{place}": state for place, state in enumerate(self._states)}}

    @memory.setter
    def memory(self, saved: Mapping[str, np.ndarray]) -> None:
        self._load_again_after_fork()
        self._set_variables(saved)
        self._states = [np.array(saved[f"state_{place}"]) for place in range(len(self._states))]

    def _variables(self) -> dict[str, np.ndarray]:
        tensors = self._variable_tensors()
        return {
            f"memory_{i}": call_litert(self._interpreter.get_tensor, tensor.index) for i, tensor in enumerate(tensors)
        }

    def _set_variables(self, saved: Mapping[str, np.ndarray]) -> None:
        for i, tensor in enumerate(self._variable_tensors()):
            call_litert(self._interpreter.set_tensor, tensor.index, saved[f"memory_{i}"])

    def _variable_tensors(self) -> tuple[Tensor, ...]:
        if self.description.variables and self.description.subgraph:
            raise EdgeError("LiteRT's Python reads memory only in a file's first graph; export one signature per file.")
        return self.description.variables


def _restored(
    kind: type[Runtime],
    data: bytes,
    file: TFLite,
    description: Description,
    num_threads: int,
    memory: Mapping[str, np.ndarray],
) -> Runtime:
    runtime = kind(data, file, description, num_threads)
    runtime.memory = memory
    return runtime


_ALIVE: weakref.WeakSet[Runtime] = weakref.WeakSet()
_ALIVE_LOCK = threading.Lock()
_AT_FORK: list[Runtime] = []


def _before_fork() -> None:
    _ALIVE_LOCK.acquire()
    _AT_FORK.extend(_ALIVE)


def _after_fork_in_parent() -> None:
    _AT_FORK.clear()
    _ALIVE_LOCK.release()


def _after_fork_in_child() -> None:
    # Destroying an interpreter of several threads crashes here, since its threads did not survive: it is never freed.
    for runtime in _AT_FORK:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime._interpreter))
        runtime.lock = threading.RLock()  # a thread that held it did not survive either
    _AT_FORK.clear()
    _ALIVE_LOCK.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def call_litert(call: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function of LiteRT.

    Raises:
        EdgeError: LiteRT refuses; its reason in one line.
    """
    try:
        return call(*args, **kwargs)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise EdgeError(f"LiteRT refuses: {reason or type(error).__name__}") from error
