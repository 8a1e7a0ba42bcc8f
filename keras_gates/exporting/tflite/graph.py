"""What is changed in a SavedModel, given by its folder, before TensorFlow's converter reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

_MINUS_ONE = "keras_gates_minus_one"


def without_negations(folder: str) -> None:
    """NEG has no integer kernel, and in a layer of the user's own it cannot be replaced as in a functional model. Every -x of the
    SavedModel becomes a product with -1.
    """
    _rewrite(folder, _multiply_by_minus_one)


def without_clips(folder: str) -> None:
    """In 16 bits MINIMUM and MAXIMUM need operands of one scale, and a clip to -1 … 1 becomes RELU_N1_TO_1, which has no kernel
    there. The smaller of x and a constant c becomes c - relu(c - x), the larger c + relu(x - c).
    """
    _rewrite(folder, _subtract_rectified)


def _rewrite(folder: str, change: Callable[[Any], None]) -> None:
    """Apply a change to every function of the SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = Path(folder, "saved_model.pb")
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for function in saved.meta_graphs[0].graph_def.library.function:
        change(function)
    path.write_bytes(saved.SerializeToString())


def _is_float(node: Any) -> bool:
    import tensorflow as tf

    return node.attr["T"].type == tf.float32.as_datatype_enum


def _multiply_by_minus_one(function: Any) -> None:
    import numpy as np
    import tensorflow as tf

    names = {}
    for node in function.node_def:
        if node.op == "Neg" and _is_float(node):
            node.op = "Mul"
            node.input.insert(1, f"{_MINUS_ONE}:output:0")  # before inputs that only order the operators
            names[f"{node.name}:y:0"] = f"{node.name}:z:0"  # as the two operators name their output
    if not names:
        return
    constant = function.node_def.add(name=_MINUS_ONE, op="Const")
    constant.attr["dtype"].type = tf.float32.as_datatype_enum
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.float32(-1)))
    for node in function.node_def:
        node.input[:] = [names.get(each, each) for each in node.input]
    for key, value in function.ret.items():
        function.ret[key] = names.get(value, value)


def _subtract_rectified(function: Any) -> None:
    constants = {f"{node.name}:output:0" for node in function.node_def if node.op == "Const"}
    for node in list(function.node_def):
        if node.op not in ("Minimum", "Maximum") or not _is_float(node):
            continue
        fixed = [each for each in node.input[:2] if each in constants]
        if len(fixed) != 1:
            continue
        limit, x = fixed[0], next(each for each in node.input[:2] if each not in constants)
        apart = function.node_def.add(name=f"{node.name}_apart", op="Sub")
        apart.input[:] = [limit, x] if node.op == "Minimum" else [x, limit]
        beyond = function.node_def.add(name=f"{node.name}_beyond", op="Relu", input=[f"{apart.name}:z:0"])
        for each in (apart, beyond):
            each.attr["T"].CopyFrom(node.attr["T"])
        node.op = "Sub" if node.op == "Minimum" else "AddV2"
        node.input[:2] = [limit, f"{beyond.name}:activations:0"]
