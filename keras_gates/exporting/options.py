"""What `export` can be asked for: the accepted values, and `ExportRequest`, which every stage reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keras_gates.exporting.report import ExportError

if TYPE_CHECKING:
    import keras

    from keras_gates.exporting.model_inputs import Inputs
    from keras_gates.exporting.units import Units
    from keras_gates.quantization.layers import LayerNumbers

FORMATS = ("saved_model", "tflite", "c", "c99")
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")
INTEGER = ("int8", "int16x8")
MODES = ("sequence", "stream")
TARGETS = ("cpu", "micro")
LOWERINGS = ("auto", "fused", "step", "while", "unrolled")
_TFLM_LACKS = {"float16": "cannot allocate the file", "dynamic": "runs the file and returns NaN"}


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """The arguments of one call of `export`, checked; see there.

    Attributes:
        inputs: the model's inputs as the file names them.
        trained: of a model of `quantize_aware` (`model` is then its float counterpart): the integers that the file is to hold.
        reference: that model, whose outputs the file is compared with; None for `model`.
        units: per output what turns it into the model's units outside the graph (`output_units`), or None; () for none.
        packs: whether the finished int8 file gets two weights per byte, which is precision "int4".

    Raises:
        ValueError: an argument has an unknown value.
        ExportError: two arguments exclude each other.
    """

    model: keras.Model
    inputs: Inputs
    formats: tuple[str, ...] = ("tflite",)
    precision: str = "float32"
    mode: str = "sequence"
    target: str = "cpu"
    batch: int = 1
    steps: int | None = None
    lowering: str = "auto"
    calibration: Any = None
    metadata: dict[str, Any] | None = None
    test: tuple[Any, Any] | None = None
    float_operators: tuple[str, ...] = ()
    also_time: tuple[str, ...] = ()
    trained: tuple[LayerNumbers, ...] = ()
    reference: keras.Model | None = None
    units: tuple[Units | None, ...] = ()
    packs: bool = False

    def __post_init__(self) -> None:
        _known("formats", self.formats, FORMATS)
        _known("precision", [self.precision], PRECISIONS)
        _known("mode", [self.mode], MODES)
        _known("target", [self.target], TARGETS)
        _known("lowering", [self.lowering], LOWERINGS)
        _known("also_time", self.also_time, LOWERINGS)
        if self.needs_tflite and self.target == "micro" and self.precision in _TFLM_LACKS:
            raise ExportError(
                f"precision={self.precision!r} is not for microcontrollers: TFLM {_TFLM_LACKS[self.precision]}. Use int8 or "
                "float32."
            )
        if self.needs_tflite and self.is_integer and self.calibration is None and not self.trained:
            raise ExportError(
                f"{self.precision} needs calibration=…: about a hundred whole sequences of real inputs, from which the "
                "converter measures the range of every tensor."
            )
        if not re.match("[A-Za-z0-9.]", self.model.name):  # of a class `_Net`, whose model Keras names `__net`
            raise ExportError(
                f"the model's name is {self.model.name!r}; TensorFlow accepts none that begins with {self.model.name[0]!r}. "
                "Build the model with another one: super().__init__(name=…), or keras.Model(…, name=…)."
            )
        for name in ("labels", "vocabulary"):
            words = (self.metadata or {}).get(name)
            if words is not None and not (isinstance(words, list | tuple) and all(isinstance(x, str) for x in words)):
                raise ExportError(
                    f"the metadata's {name} must be a list of strings; got {words!r:.60}. Pass [str(x) for x in …]."
                )
        labels, outputs = (self.metadata or {}).get("labels"), getattr(self.model, "outputs", None)
        classes = outputs[0].shape[-1] if outputs else None
        if labels is not None and classes not in (None, 1, len(labels)):
            raise ExportError(
                f"the metadata has {len(labels)} labels; the model's first output has {classes} values. Pass one label per class."
            )

    @property
    def needs_tflite(self) -> bool:
        """Whether a .tflite is to be written; the C files hold one, or are written from it."""
        return bool({"tflite", "c", "c99"} & set(self.formats))

    @property
    def compared_with(self) -> keras.Model:
        """The model whose outputs those of the file are to be."""
        return self.model if self.reference is None else self.reference

    @property
    def is_integer(self) -> bool:
        """Whether activations are integers, which takes calibration data."""
        return self.precision in INTEGER

    @property
    def is_stream(self) -> bool:
        """Whether a call takes some time steps of a sequence and memory persists between calls."""
        return self.mode == "stream"


def _known(argument: str, values: Sequence[str], known: Sequence[str]) -> None:
    for value in values:
        if value not in known:
            raise ValueError(f"export: {argument} must be of {', '.join(known)}; got {value!r}.")
