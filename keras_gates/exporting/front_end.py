"""Front ends that a file cannot represent stay outside its graph: text to tokens, and in integers normalization and log-mel.

One int8 scale for all channels rounds small ones away, and an offset like that of air pressure leaves nothing of the signal.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_gates import _compat
from keras_gates._patch import patched
from keras_gates.edge.frontends import log_mel, scaled
from keras_gates.exporting.model_inputs import inputs_of
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.verify import samples

_LOG_MEL = "keras_gates>LogMel"
_LOG_MEL_PARAMETERS = ("sample_rate", "frame", "hop", "bins", "low", "high", "floor")


@dataclass(frozen=True)
class FrontEnd:
    """A model's first layer, which the device computes outside the integer graph.

    Attributes:
        layer: the layer.
        output: what it makes of the model's input, symbolically.
        metadata: the entry "frontend" of the file, as `keras_gates.edge.frontends` reads it.
        compute: an example without batch axis to what the layer makes of it; all texts at once to their tokens.
        note: a sentence for the report.
        vocabulary: for texts, the word of each token.
    """

    layer: keras.layers.Layer
    output: keras.KerasTensor
    metadata: dict[str, Any]
    compute: Callable[[Any], np.ndarray]
    note: str
    vocabulary: list[str] | None = None


@contextlib.contextmanager
def kept_outside(request: ExportRequest) -> Iterator[tuple[ExportRequest, list[str]]]:
    """Give the request for the graph without its front end, valid within the block, and notes for the report.

    Calibration and test data are passed through the front end. Models without such a layer are given as they are; so are those
    whose metadata describe a front end of their own, and normalization and log-mel in other precisions than integers, apart
    from statistics that float16 cannot hold.

    Args:
        request: What was asked for.

    Raises:
        ExportError: a text input that no TextVectorization layer reads whose tokens EdgeModel can compute.
    """
    texts = [port.keras_name for port in request.inputs.ports if port.dtype == "string"]
    front = None
    if texts:
        front = _of_texts(request.model, texts[0])
    elif not request.float_operators and "frontend" not in (request.metadata or {}):
        front = front_end_of(request.model) if request.is_integer or request.precision == "float16" else None
        if front is not None and not request.is_integer and not _lost_in_float16(front):
            front = None
    if front is None:
        yield request, []
        return
    reference = request.reference
    with contextlib.ExitStack() as block:
        if front.metadata.get("kind") == "scale":
            same = [front.layer, *([] if reference is None else [reference.get_layer(front.layer.name)])]
            block.enter_context(patched([(layer, "call", lambda x, *args, **rest: x) for layer in same]))
            model, inputs = request.model, request.inputs
        else:
            block.enter_context(_compat.without_new_nodes(request.model))
            whole = _compat.functional_graph(request.model)  # a Sequential itself has no output
            model = keras.Model(front.output, whole.output, name=request.model.name)
            if front.vocabulary is not None:  # TextVectorization's int64 would become a CAST that TFLM and int16x8 lack
                tokens = keras.Input(front.output.shape[1:], dtype="int32")
                model = keras.models.clone_model(model, input_tensors=tokens, clone_function=lambda layer: layer)
            inputs = inputs_of(model)
            if reference is not None:
                block.enter_context(_compat.without_new_nodes(reference))
                reference = keras.Model(reference.get_layer(front.layer.name).output, reference.output)
        test, calibration = request.test, request.calibration
        vocabulary = {} if front.vocabulary is None else {"vocabulary": front.vocabulary}
        yield (
            dataclasses.replace(
                request,
                model=model,
                reference=reference,
                inputs=inputs,
                calibration=None if calibration is None else _through(front, request, calibration, samples.MOST),
                metadata={**vocabulary, **(request.metadata or {}), "frontend": front.metadata},
                test=None if test is None else (_through(front, request, test[0], None), test[1]),
            ),
            [front.note],
        )


def _through(front: FrontEnd, request: ExportRequest, data: Any, most: int | None) -> Any:
    if front.vocabulary is not None:
        return front.compute(np.ravel(data if hasattr(data, "shape") else list(data)))
    each = samples.samples_of(data, request.inputs)
    events = [front.compute(sample[0][0]) for sample in (each if most is None else samples.spread(each, most))]
    return np.stack(events) if len({x.shape for x in events}) == 1 else events


def front_end_of(model: keras.Model) -> FrontEnd | None:
    """Return the front end that a functional model with one input begins with, None if there is none.

    Args:
        model: A built model.
    """
    layer, taken, output = _first_layer(model)
    if layer is None:
        return None
    if keras.saving.get_registered_name(type(layer)) == _LOG_MEL:
        parameters = {name: value for name in _LOG_MEL_PARAMETERS if (value := getattr(layer, name)) is not None}
        metadata = {"kind": "log_mel", **parameters}
        note = f"{layer.name} stays outside the integer graph: the file takes the events that EdgeModel.events makes of sound"
        return FrontEnd(layer, output, metadata, log_mel(metadata), note)
    statistics = _statistics(layer, len(taken.shape))
    if statistics is None:
        return None
    mean, deviation = (np.asarray(each, np.float64).reshape(-1) for each in statistics)
    if mean.shape != (taken.shape[-1],) or not (deviation > 0).all():
        return None
    metadata = {"kind": "scale", "mean": mean.tolist(), "deviation": deviation.tolist(), "automatic": True}
    note = (
        f"{layer.name} stays outside the graph: EdgeModel computes it; in C and in other runtimes pass "
        "(value - mean) / deviation, as the metadata's front end says"
    )
    return FrontEnd(layer, output, metadata, lambda x: scaled(x, metadata), note)


def _lost_in_float16(front: FrontEnd) -> bool:
    """Return whether the layer's mean, rounded to float16, is off by more than a hundredth of a standard deviation."""
    if front.metadata["kind"] != "scale":
        return False
    mean, deviation = (np.array(front.metadata[name]) for name in ("mean", "deviation"))
    with np.errstate(over="ignore"):
        return bool((np.abs(mean - mean.astype(np.float16)) > 0.01 * deviation).any())


def _first_layer(model: keras.Model) -> tuple[keras.layers.Layer | None, Any, Any]:
    """Return the only layer that reads the model's only input, called once in the model, with that input and its output.

    A layer that other models share has calls there too, so that its own `input` and `output` are those of another model.
    """
    graph = _compat.functional_graph(model)
    if len(getattr(graph, "inputs", None) or ()) != 1:
        return None, None, None
    taken, nodes = graph.inputs[0], _compat.graph_nodes(graph)
    readers = [node for node in nodes if any(x is taken for x in node.input_tensors)]
    if len(readers) != 1 or not isinstance(readers[0].operation, keras.layers.Layer):
        return None, None, None
    layer = readers[0].operation
    if len(readers[0].outputs) != 1 or sum(node.operation is layer for node in nodes) != 1:
        return None, None, None
    return layer, taken, readers[0].outputs[0]


def _of_texts(model: keras.Model, name: str) -> FrontEnd:
    layer, _, output = _first_layer(model)
    config: dict[str, Any] = {}
    if layer is not None and type(layer) is keras.layers.TextVectorization:
        config = layer.get_config()
    standardize, split = (config.get(key, "none") for key in ("standardize", "split"))
    if (
        layer is None
        or standardize not in ("lower_and_strip_punctuation", "lower", None)
        or split not in ("whitespace", "character")
        or config["output_mode"] != "int"
        or config["ngrams"]
        or config["ragged"]
    ):
        raise ExportError(
            f"input {name!r} takes texts, a .tflite takes tokens: expected a model that begins with TextVectorization (words or "
            "characters to numbers, standardized by 'lower_and_strip_punctuation', 'lower' or None). Export the part after "
            'its text layers, with metadata={"vocabulary": …}; formats=["saved_model"] keeps them.'
        )
    vocabulary = [str(word) for word in layer.get_vocabulary()]
    metadata = {"standardize": standardize, "split": split}
    if config["output_sequence_length"]:
        metadata["first"] = config["output_sequence_length"]
    note = (
        f"{layer.name} stays outside the .tflite, which takes tokens and has the vocabulary of {len(vocabulary)} words in its "
        "metadata: EdgeModel takes texts; a SavedModel keeps the layer"
    )

    def tokens(texts: Any) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(layer(texts.astype(str) if texts.dtype == object else texts)))

    return FrontEnd(layer, output, metadata, tokens, note, vocabulary)


def _statistics(layer: keras.layers.Layer, rank: int) -> tuple[Any, Any] | None:
    """Return mean and standard deviation by which a layer standardizes `rank` axes, one number per channel."""
    if type(layer) is keras.layers.Normalization:
        if layer.invert or tuple(layer.axis or ()) not in ((-1,), (rank - 1,)):
            return None
        return _numbers(layer.mean), np.maximum(np.sqrt(_numbers(layer.variance)), keras.backend.epsilon())
    if type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, rank - 1):
        deviation = np.sqrt(_numbers(layer.moving_variance) + layer.epsilon)
        deviation = deviation / (_numbers(layer.gamma) if layer.scale else 1.0)
        return _numbers(layer.moving_mean) - (_numbers(layer.beta) * deviation if layer.center else 0.0), deviation
    return None


def _numbers(x: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x), np.float64)
