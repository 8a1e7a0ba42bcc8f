"""TensorFlow: the kernel's operators with their gradients, and what keeps a graph that contains them in this process."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import tensorflow as tf

from keras_gates import native
from keras_gates._compat import in_xla_context, tape_is_active
from keras_gates.native.structures import WITH_GRADIENT, places, present

FLAGS = ("present", "sequences", "go_backwards", "zeros", "drawn", "threads")
STRATEGIES = ("DefaultStrategy", "_DefaultDistributionStrategy", "OneDeviceStrategy", "MirroredStrategy")

# Python modules that trace a graph in order to save or convert it.
EXPORTERS = (
    "keras.src.export.",
    "keras_gates.exporting.",
    "tensorflow.lite.",
    "tensorflow.python.saved_model.",
    "tensorflow_model_optimization.",
    "tensorflowjs.",
    "tf2onnx.",
)

# TensorFlow shows this name in the error of `tf.saved_model.save`.
MARK = (
    "keras_gates_native_loop: this function was traced with the native loop, which only this process has; "
    "save a function that has not been called, give it an input_signature, or build the layer with loop=compiled"
)


@functools.cache
def operators() -> Any:
    """Load the operators and register their gradients.

    Returns:
        A module with `keras_gates_lstm` and `keras_gates_lstm_gradient`.

    Raises:
        ImportError: the core or the operators are absent, or this TensorFlow does not take them.
    """
    core, path = native.core(), native.library("_tensorflow")
    if path is None:
        raise ImportError(
            "keras_gates.native: the operators for TensorFlow were not compiled. Install keras_gates again."
        )
    module = tf.load_op_library(str(path))
    functions = (core.kg_lstm_forward, core.kg_lstm_backward, core.kg_lstm_saved_size)
    addresses = [ctypes.cast(function, ctypes.c_void_p) for function in functions]
    if not ctypes.CDLL(str(path)).kg_tensorflow_use(*addresses):
        raise ImportError(f"keras_gates.native: TensorFlow {tf.__version__} does not take the operators.")
    tf.RegisterGradient("KerasGates>Lstm")(_gradient)
    tf.RegisterGradient("KerasGates>LstmGradient")(_no_second_gradient)
    return module


@functools.cache
def why_absent() -> str | None:
    """Return why the operators cannot be used in this process, or None if they can."""
    try:
        operators()
    except (ImportError, OSError, tf.errors.OpError) as error:
        return native.why_absent() or str(error)
    return None


def why_not_here() -> str | None:
    """Return why the graph that is being traced must not contain the operators, or None if it may (or none is traced).

    A graph that is saved or converted must run without this package. So the operators are left out of what is traced by an
    exporter, by `get_concrete_function`, and by a `tf.function` with an `input_signature`, which is how models are prepared
    for serving. TensorFlow traces a function again when it saves it. A graph with the operators is refused: see `MARK`.
    """
    if tf.executing_eagerly():
        return None
    if not isinstance(tf.compat.v1.get_default_graph(), tf.__internal__.FuncGraph):
        return "a graph of TensorFlow 1 may leave this process"
    if in_xla_context():
        return "XLA compiles the whole graph"
    strategy = type(tf.distribute.get_strategy()).__name__
    if strategy not in STRATEGIES:
        return f"{strategy} may run the graph in another process"
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if f"{module}.".startswith(EXPORTERS):
            return f"the graph leaves this process ({module})"
        if module.startswith("tensorflow.python.ops.parallel_for."):
            return "tf.vectorized_map has no rule for it"
        if module.endswith(".polymorphic_function"):
            if function == "get_concrete_function":
                return "a concrete function may leave this process"
            if function == "__call__" and getattr(frame.f_locals.get("self"), "input_signature", None) is not None:
                return "a tf.function with an input_signature may leave this process"
        frame = frame.f_back
    return None


@functools.cache
def _mark() -> Any:
    # A handle to nothing: it is never read.
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name=MARK, container="")


def _keep_in_process() -> None:
    """Let the graphs that are being traced capture a resource that no object tracks: `tf.saved_model.save` then refuses them."""
    graph = tf.compat.v1.get_default_graph()
    while isinstance(graph, tf.__internal__.FuncGraph):
        graph.capture(_mark())
        graph = graph.outer_graph


def lstm(
    arrays: Mapping[str, Any],
    mask: Any,
    *,
    sequences: bool,
    go_backwards: bool,
    zeros: bool,
    drawn: bool = False,
) -> tuple[Any, Any, Any]:
    """Run the kernel.

    Args:
        arrays: by the names of `keras_gates.native.structures.ARRAYS`, whose shapes are in lstm.h: tensors, all float32 or all
            float64; None or a missing name stands for none.
        mask: Tensor `(batch, time)` of booleans, or None.
        sequences: Boolean, return every output instead of the last.
        go_backwards: Boolean, run from the last event to the first.
        zeros: Boolean, output zeros at a skipped event instead of the output before it.
        drawn: Boolean, zones are `(time, batch, units)`, a number for every step in the order of reading, instead of one number.

    Returns:
        Outputs `(batch, time, units)`, or `(batch, units)` without `sequences`; the last STM; the last LTM.
    """
    module = operators()
    if not tf.executing_eagerly():
        _keep_in_process()
    there = present(arrays)
    outputs, last_stm, last_ltm, _ = module.keras_gates_lstm(
        there.arrays,
        [] if mask is None else [mask],
        present=there.bits,
        sequences=sequences,
        go_backwards=go_backwards,
        zeros=zeros,
        drawn=drawn,
        threads=tf.config.threading.get_intra_op_parallelism_threads(),
        save=tape_is_active(),
    )
    # The shape function knows only the memories' shapes.
    events, stm = arrays["events"], arrays["stm"]
    outputs.set_shape((events.shape[0], *([events.shape[1]] if sequences else []), stm.shape[1]))
    for memory in (last_stm, last_ltm):
        memory.set_shape((events.shape[0], stm.shape[1]))
    return outputs, last_stm, last_ltm


def _gradient(op: Any, d_outputs: Any, d_stm: Any, d_ltm: Any, _: Any) -> list[Any]:
    flags = {name: op.get_attr(name) for name in FLAGS}
    count, (outputs, _, _, saved) = op.get_attr("count"), op.outputs
    inputs, mask = list(op.inputs)[:count], list(op.inputs)[count:]
    if not op.get_attr("save"):
        # The function was traced without a tape, and one is active around its call: run the forward pass again.
        outputs, _, _, saved = operators().keras_gates_lstm(inputs, mask, save=True, **flags)
    number = sum(1 for place in places(flags["present"]) if place < len(WITH_GRADIENT))
    gradients = operators().keras_gates_lstm_gradient(
        inputs, mask, outputs, saved, d_outputs, d_stm, d_ltm, gradient_count=number, **flags
    )
    for gradient, array in zip(gradients, inputs):
        gradient.set_shape(array.shape)
    return [*gradients, *[None] * (len(op.inputs) - number)]


def _no_second_gradient(op: Any, *_: Any) -> Any:
    raise ValueError(native.NO_SECOND_GRADIENT)
