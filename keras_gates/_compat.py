"""Every private name of Keras and TensorFlow that the package uses, fetched here and nowhere else.

Nothing degrades silently: where a version of Keras or TensorFlow lacks a name, the function that fetches it raises
`ImportError` with the versions to install. TensorFlow is imported only by functions that only TensorFlow's loops call.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

VERSIONS = "keras>=3.10,<4 (with TensorFlow: tensorflow>=2.19,<3)"

Change = tuple[Any, str, Any]  # what `keras_gates._patch.patched` takes: object, attribute, value


def _fetch(owner: Any, name: str, where: str) -> Any:
    """The attribute `name` of `owner`, or an `ImportError` that names what is missing and what to install."""
    try:
        return getattr(owner, name)
    except AttributeError:
        raise _missing(f"{where}.{name}") from None


def _missing(name: str) -> ImportError:
    return ImportError(
        f"keras_gates uses {name}, which Keras {getattr(keras, '__version__', '?')} with the {keras.backend.backend()} backend "
        f"does not have. Install {VERSIONS}; docs/versions.md lists the tested pairs."
    )


def flatten_layers(
    model: keras.layers.Layer, include_self: bool = True, recursive: bool = True
) -> list[keras.layers.Layer]:
    """Return the layer and every layer inside it, at any depth or, if not `recursive`, directly.

    Raises:
        ImportError: this version of Keras has no `Layer._flatten_layers`.
    """
    return list(_fetch(model, "_flatten_layers", "Layer")(include_self=include_self, recursive=recursive))


def dropout_cell() -> Any:
    """Return the mixin by which `keras.layers.RNN` recognises a cell whose dropout masks it draws before the loop.

    Raises:
        ImportError: this version of Keras has no `DropoutRNNCell`.
    """
    for base in keras.layers.LSTMCell.__mro__:
        if base.__name__ == "DropoutRNNCell":
            return base
    raise _missing("DropoutRNNCell")


def without_dropout_masks(layer: keras.layers.RNN) -> list[Change]:
    """Return the changes that keep an RNN layer from drawing dropout masks, for `patched`.

    Raises:
        ImportError: this version of Keras draws the masks elsewhere.
    """
    names = ("_maybe_config_dropout_masks", "_maybe_reset_dropout_masks")
    return [_replacing(layer, name, "RNN", lambda *_: None) for name in names]


def without_input_checks(model: keras.Model) -> list[Change]:
    """Return the changes that let a model take inputs of another shape than it was built with, for `patched`.

    Raises:
        ImportError: this version of Keras checks inputs elsewhere.
    """
    return [_replacing(model, "_assert_input_compatibility", "Layer", lambda *_: None)]


def with_dtype(layer: keras.layers.Layer, dtype: str) -> list[Change]:
    """Return the changes that let a layer compute in `dtype`, for `patched`.

    Raises:
        ImportError: this version of Keras stores a layer's dtype policy elsewhere.
    """
    return [_replacing(layer, "_dtype_policy", "Layer", keras.DTypePolicy(dtype))]


def _replacing(owner: Any, name: str, where: str, value: Any) -> Change:
    _fetch(owner, name, where)
    return owner, name, value


def takes_training(layer: keras.layers.Layer) -> bool:
    """Return whether the layer's `call` has the argument `training`.

    Raises:
        ImportError: this version of Keras has no `Layer._call_has_training_arg`.
    """
    return bool(_fetch(layer, "_call_has_training_arg", "Layer"))


def functional_graph(model: keras.Model) -> keras.Model:
    """Return the functional model that a sequential one runs, and any other model itself.

    Raises:
        ImportError: this version of Keras has no `Sequential._functional`.
    """
    if not isinstance(model, keras.Sequential):
        return model
    return _fetch(model, "_functional", "Sequential") or model


def calls_of(layer: keras.layers.Layer) -> int:
    """Return how often a layer of a functional model is called in it.

    Raises:
        ImportError: this version of Keras has no `Layer._inbound_nodes`.
    """
    return len(_fetch(layer, "_inbound_nodes", "operation"))


def graph_nodes(model: keras.Model) -> list[Any]:
    """Return every call of an operation in a functional model's graph: with `operation`, `input_tensors`, `outputs`,
    `arguments` and `is_input`.

    Raises:
        ImportError: this version of Keras has no `Functional._nodes_by_depth`.
    """
    return [node for nodes in _fetch(model, "_nodes_by_depth", "Functional").values() for node in nodes]


def producer(tensor: keras.KerasTensor) -> tuple[Any, Any, int]:
    """Return the operation that makes a symbolic tensor, its call, and which of its outputs the tensor is.

    Raises:
        ImportError: this version of Keras has no `KerasTensor._keras_history` or `Operation._inbound_nodes`.
    """
    operation, call, place = _fetch(tensor, "_keras_history", "KerasTensor")
    return operation, None if operation is None else _fetch(operation, "_inbound_nodes", "Operation")[call], place


@contextlib.contextmanager
def without_new_nodes(model: keras.Model) -> Iterator[None]:
    """Forget afterwards the calls of the model's layers that were recorded in the block: `keras.Model(tensors, …)` adds one
    to each layer, whose `output` then has no single value.

    Args:
        model: A functional model.
    """
    operations = [*functional_graph(model).operations, *flatten_layers(model)]
    lists = [_fetch(each, name, "operation") for each in operations for name in ("_inbound_nodes", "_outbound_nodes")]
    before = [(nodes, list(nodes)) for nodes in lists]
    try:
        yield
    finally:
        for nodes, old in before:
            nodes[:] = old


def input_structure(model: keras.Model) -> Any:
    """Return a functional model's symbolic inputs in the structure in which it takes them; None for any other model.

    Raises:
        ImportError: this version of Keras has no `Functional._inputs_struct`.
    """
    return _fetch(model, "_inputs_struct", "Functional") if _is_functional(model) else None


def output_structure(model: keras.Model) -> Any:
    """Return a functional model's symbolic outputs in the structure in which it returns them; None for any other model.

    Raises:
        ImportError: this version of Keras has no `Functional._outputs_struct`.
    """
    return _fetch(model, "_outputs_struct", "Functional") if _is_functional(model) else None


def _is_functional(model: keras.Model) -> bool:
    """Whether this is a functional model, whose class Keras does not export: it has operations and is not sequential."""
    return hasattr(model, "operations") and not isinstance(model, keras.Sequential)


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Return the arguments, as objects, with which a compiled model was compiled.

    Raises:
        ImportError: this version of Keras does not store them.
    """
    return dict(_fetch(_fetch(model, "_compile_config", "Trainer"), "config", "Trainer._compile_config"))


def backend_lstm() -> Callable:
    """Return the LSTM of Keras' backend: cuDNN on a GPU.

    Raises:
        ImportError: this version of Keras has no `keras.src.backend.lstm`.
    """
    return _fetch(importlib.import_module("keras.src.backend"), "lstm", "keras.src.backend")


def backend_rnn() -> Callable:
    """Return the loop over time of Keras' backend, which `keras.layers.RNN` runs.

    Raises:
        ImportError: this version of Keras has no `keras.src.backend.rnn`.
    """
    return _fetch(importlib.import_module("keras.src.backend"), "rnn", "keras.src.backend")


def in_xla_context() -> bool:
    """Return whether TensorFlow is tracing a graph that XLA compiles as a whole.

    Raises:
        ImportError: this version of TensorFlow has no `control_flow_util.GraphOrParentsInXlaContext`.
    """
    import tensorflow as tf

    module = importlib.import_module("tensorflow.python.ops.control_flow_util")
    return _fetch(module, "GraphOrParentsInXlaContext", module.__name__)(tf.compat.v1.get_default_graph())


def tape_is_active() -> bool:
    """Return whether a `tf.GradientTape` may record what TensorFlow computes now, so that a gradient may follow.

    Raises:
        ImportError: this version of TensorFlow has no `record.could_possibly_record`.
    """
    module = importlib.import_module("tensorflow.python.eager.record")
    return _fetch(module, "could_possibly_record", module.__name__)()


def in_torch_transform() -> bool:
    """Return whether PyTorch runs inside a transform of `torch.func` (`vmap`, `grad`, `jacrev`, …).

    Raises:
        ImportError: this version of PyTorch has no `torch._C._functorch.maybe_current_level`.
    """
    module = importlib.import_module("torch._C._functorch")
    return _fetch(module, "maybe_current_level", module.__name__)() is not None


def in_torch_mode() -> bool:
    """Return whether a mode of PyTorch's dispatcher (fake tensors, `make_fx`, counters, …) looks at every operator.

    Raises:
        ImportError: this version of PyTorch has no `torch._C._len_torch_dispatch_stack`.
    """
    module = importlib.import_module("torch._C")
    return _fetch(module, "_len_torch_dispatch_stack", module.__name__)() > 0


def cached_logits(prediction: Any) -> Any:
    """Return the values from which softmax or sigmoid computed a tensor; None where they are not known.

    Keras keeps them at the result of its activations, for losses; not on every backend, nor after a further operation.
    """
    return getattr(prediction, "_keras_logits", None)
