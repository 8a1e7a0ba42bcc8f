"""Models of every structure that people were refused, in every mode and precision; the same for the same number."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from export_models import STEPS, Case, recurrent
from keras import layers

from keras_gates import GateLSTM
from keras_gates.models.layers.logmel import LogMel

PRECISIONS = (
    ("float32", "cpu"),
    ("int8", "cpu"),
    ("int16x8", "cpu"),
    ("int8", "micro"),
    ("dynamic", "cpu"),
    ("int16x8", "micro"),
    ("float16", "cpu"),
    ("float32", "micro"),
)
FEATURES, COUNT = 4, 72
Build = tuple[Any, Any]  # the model and its data, an array (samples, …) or one per input


class SinceKeras2(layers.LSTM):  # the shim that users keep for old files; not registered
    def __init__(self, units, time_major=False, **options):
        super().__init__(units, **options)
        self.time_major = time_major


class Clipped(layers.Layer):  # of the user's own, not registered
    def call(self, inputs):
        return keras.ops.clip(inputs, -1.0, 1.0)


class Layered(keras.Model):
    def __init__(self, layers_in_order, pick):
        super().__init__()
        self.all, self.pick = layers_in_order, pick

    def call(self, inputs, training=False):
        x = self.pick(inputs)
        for layer in self.all:
            x = layer(x)
        return x


class Structures:
    """The builders, one per structure; each is called with nothing and returns a `Build`."""

    def __init__(self, draw: np.random.Generator, mode: str) -> None:
        self.draw, self.stream = draw, mode == "stream"
        self.words: list[str] = []

    def _some(self, *values: Any) -> Any:
        return values[self.draw.integers(len(values))]

    def _memory(self, x: Any, sequences: bool = False) -> Any:
        x, word = recurrent(x, self.draw, sequences=sequences, causal=self.stream)
        self.words.append(word)
        return x

    def _head(self, x: Any) -> Any:
        return layers.Dense(int(self.draw.integers(1, 5)), activation=self._some("linear", "softmax", "sigmoid"))(x)

    def _events(self, steps: int | None = None, **options: Any) -> Any:
        return keras.Input((steps, FEATURES), **options)

    def _data(self, steps: int = STEPS) -> np.ndarray:
        return self.draw.normal(size=(COUNT, steps, FEATURES)).astype("float32")

    def convolution(self) -> Build:
        events = self._events()
        layer = self._some(
            layers.Conv1D(5, 3, padding="causal", activation="relu"),
            layers.Conv1D(5, 3, activation="relu"),
            layers.Conv1D(4, 2, dilation_rate=2, padding="causal"),
            layers.DepthwiseConv1D(2),
            layers.SeparableConv1D(4, 2),
            layers.Conv1D(5, 1),
        )
        return keras.Model(events, self._head(self._memory(layer(events)))), self._data()

    def strides(self) -> Build:
        events = self._events()
        x = self._some(
            layers.Conv1D(5, 4, 2, padding="causal"), layers.Conv1D(5, 2, 2), layers.ReLU(), layers.Conv1D(5, 3, 2)
        )(events)
        x = self._some(layers.MaxPooling1D(2), layers.AveragePooling1D(2))(x)
        return keras.Model(events, self._head(self._memory(x))), self._data(16)

    def keyword_front(self) -> Build:
        events = self._events()
        x = layers.Conv1D(5, 3, 2, padding="valid" if self.stream else "same", use_bias=False)(events)
        x = layers.ReLU()(self._normalized(x))
        x = layers.DepthwiseConv1D(3)(x)
        x = self._some(layers.MaxPooling1D(2), layers.AveragePooling1D(2), layers.Dropout(0.1))(x)
        return keras.Model(events, self._head(self._memory(x))), self._data(24)

    def running_value(self) -> Build:
        events = self._events()
        hidden = self._memory(events, sequences=True)
        pool = self._some(layers.GlobalMaxPooling1D(), layers.GlobalAveragePooling1D())
        return keras.Model(events, self._head(pool(hidden))), self._data()

    def large_offset(self) -> Build:
        events, mean = self._events(), np.array([101325.0, 20.0, 0.0, -500.0])
        layer = layers.Normalization(mean=mean, variance=[25.0, 4.0, 1.0, 100.0])
        x = self._data() * [5, 2, 1, 10] + mean
        return keras.Model(events, self._head(self._memory(layer(events)))), x.astype("float32")

    def batch_normalization(self) -> Build:
        events = self._events()
        hidden = self._normalized(self._memory(events, sequences=True))
        return keras.Model(events, self._head(self._memory(hidden))), self._data()

    def _normalized(self, x: Any) -> Any:
        """A BatchNormalization as training leaves it."""
        layer = layers.BatchNormalization()
        x = layer(x)
        ranges = (1, 3), (-1, 1), (-0.2, 0.2), (0.01, 0.3)
        layer.set_weights([self.draw.uniform(low, high, x.shape[-1]) for low, high in ranges])
        return x

    def log_mel(self) -> Build:
        self.stream = False
        sound = keras.Input((1280,))
        x = 0.1 * self.draw.normal(size=(COUNT, 1280)) * self.draw.uniform(0.1, 3, size=(COUNT, 1))
        return keras.Model(sound, self._head(self._memory(LogMel(8000, bins=20)(sound)))), x.astype("float32")

    def wide_window(self) -> Build:
        events = self._events(STEPS + 29)
        window = layers.Concatenate()([events[:, start : start + STEPS] for start in range(30)])
        return keras.Model(events, self._head(self._memory(window))), self._data(STEPS + 29)

    def negation(self) -> Build:
        events = self._events()
        x = 1.0 - (-self._memory(-events))
        return keras.Model(events, layers.Dense(2)(x)), self._data()

    def unbounded(self) -> Build:
        events = self._events()
        activation = self._some("relu", "linear", "elu", "softplus")
        self.words.append(activation)
        x = layers.LSTM(5, activation=activation, return_sequences=bool(self.draw.integers(2)))(events)
        return keras.Model(events, layers.Dense(2)(self._memory(x) if len(x.shape) == 3 else x)), 3 * self._data()

    def repetition(self) -> Build:
        events = self._events(STEPS)
        repeated = layers.RepeatVector(int(self.draw.integers(2, 7)))(self._memory(events))
        return keras.Model(events, self._head(self._memory(repeated))), self._data()

    def folded_frames(self) -> Build:
        frames = keras.Input((STEPS, 6, 6, 1))
        if self.draw.integers(2):
            eye = keras.Sequential([layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), layers.Dense(5)])
            x = layers.TimeDistributed(eye)(frames)
        else:
            seen = layers.Flatten()(layers.Conv2D(2, 3)(keras.ops.reshape(frames, (-1, 6, 6, 1))))
            x = keras.ops.reshape(seen, (-1, STEPS, 32))
        x = self._memory(x)
        return keras.Model(frames, self._head(x)), self.draw.normal(size=(COUNT, STEPS, 6, 6, 1)).astype("float32")

    def reshaped(self) -> Build:
        steps = None if self.stream or self.draw.integers(2) else STEPS  # a fixed axis of (8, 3, 2) may be no time
        pixels = keras.Input((steps, 3, 2))
        x = self._memory(layers.Reshape((steps or -1, 6))(pixels))
        return keras.Model(pixels, self._head(x)), self.draw.normal(size=(COUNT, STEPS, 3, 2)).astype("float32")

    def stateful_cells(self) -> Build:
        events = self._events(STEPS, batch_size=1)
        cells = [layers.LSTMCell(4), self._some(layers.LSTMCell(3), layers.GRUCell(3))]
        return keras.Model(events, self._head(layers.RNN(cells, stateful=True)(events))), self._data()

    def subclassed(self) -> Build:
        first = GateLSTM(5, return_sequences=True)
        return self._layered([first, layers.LSTM(4), layers.Dense(2)], self._data())

    def subclassed_tokens(self) -> Build:
        words = layers.Embedding(15, 5, mask_zero=not self.stream and bool(self.draw.integers(2)))
        x = self.draw.integers(1, 15, (COUNT, STEPS)).astype("int32")
        return self._layered([words, GateLSTM(5), layers.Dense(3)], self._padded(x))

    def _layered(self, layers_in_order: list[Any], x: np.ndarray) -> Build:
        """A subclassed model whose inputs are an array, a list, a tuple, a dict or nested."""
        pick, wrap = self._some(
            (lambda x: x, lambda x: x),
            (lambda x: x[0], lambda x: [x]),
            (lambda x: x[0], lambda x: (x,)),
            (lambda x: x["event"], lambda x: {"event": x}),
            (lambda x: x["all"]["event"], lambda x: {"all": {"event": x}}),
        )
        model = Layered(layers_in_order, pick)
        model(wrap(x[:1]))
        return model, x

    def two_inputs(self) -> Build:
        events, place = self._events(), keras.Input((2,), name="place")
        x = layers.Concatenate()([self._memory(events), layers.Dense(3, activation="tanh")(place)])
        fixed = self.draw.normal(size=(COUNT, 2)).astype("float32")
        return keras.Model([events, place], self._head(x)), (self._data(), fixed)

    def own_classes(self) -> Build:
        events = self._events()
        x = self._some(Clipped(), layers.Lambda(lambda x: 0.5 * x), layers.Activation("tanh"))(events)
        x = SinceKeras2(6, return_sequences=bool(self.draw.integers(2)))(x)
        return keras.Model(events, self._head(self._memory(x) if len(x.shape) == 3 else x)), self._data()

    def forecast(self) -> Build:
        events = self._events(STEPS)
        scale = layers.Normalization(mean=[3.0, -1.0, 0.0, 0.5], variance=[4.0, 1.0, 0.25, 1.0])
        x = layers.Dense(6)(self._memory(scale(events)))
        x = layers.Rescaling(2.0, 3.0)(layers.Reshape((3, 2))(x))
        return keras.Model(events, x), self._data() * np.float32([2, 1, 0.5, 1]) + np.float32([3, -1, 0, 0.5])

    def names_and_outputs(self) -> Build:
        names = ("1st_input", "in", "class", "self", "größe", "_x", "lengths", "a b")
        events = self._events(name=str(self._some(*names)))
        hidden = self._memory(events)
        small, large = layers.Dense(1, name="small")(hidden), layers.Dense(1, kernel_initializer="ones")(hidden)
        return keras.Model(events, [small, layers.Rescaling(1000.0, name="large")(large)]), self._data()

    def nested_mask(self) -> Build:
        events = self._events()
        x = layers.TimeDistributed(layers.Dense(4))(layers.Masking()(events))
        return keras.Model(events, self._head(self._memory(x))), self._padded(self._data())

    def tokens(self) -> Build:
        words = keras.Input((None,), dtype="int32")
        x = self._memory(layers.Embedding(15, 5, mask_zero=bool(self.draw.integers(2)))(words))
        return keras.Model(words, self._head(x)), self._padded(
            self.draw.integers(1, 15, (COUNT, STEPS)).astype("int32")
        )

    def texts(self) -> Build:
        self.stream = False
        vocabulary = ["turn", "on", "off", "the", "light"]
        layer = layers.TextVectorization(output_sequence_length=6, vocabulary=vocabulary)
        text = keras.Input((), dtype="string")
        x = self._memory(layers.Embedding(7, 4, mask_zero=True)(layer(text)))
        some = [" ".join(self.draw.choice([*vocabulary, "Radio!"], self.draw.integers(0, 9))) for _ in range(COUNT)]
        return keras.Model(text, self._head(x)), np.array(some)

    def _padded(self, x: np.ndarray) -> np.ndarray:
        if self.stream:
            return x
        lengths = self.draw.integers(0, STEPS + 1, size=(COUNT,) + (1,) * (x.ndim - 1))
        return np.where(np.arange(STEPS).reshape((1, STEPS) + (1,) * (x.ndim - 2)) < lengths, x, 0).astype(x.dtype)


NAMES = tuple(name for name in vars(Structures) if not name.startswith("_"))


def structured_case(number: int) -> Case:
    """Return a model; `len(NAMES) * 16` numbers in a row have every structure in every mode and precision.

    TFLM has no GATHER in 16 bits, which tokens and lengths need: int8 stands in for int16x8 there. Sound and texts come whole.
    """
    draw = np.random.default_rng(number)
    keras.utils.set_random_seed(number)
    name, rest = NAMES[number % len(NAMES)], number // len(NAMES)
    (precision, target), mode = PRECISIONS[rest % 8], ("sequence", "stream")[rest // 8 % 2]
    structures = Structures(draw, mode)
    model, x = getattr(structures, name)()
    mode = "stream" if structures.stream else "sequence"
    if target == "micro" and precision == "int16x8" and name in ("nested_mask", "tokens", "subclassed_tokens", "texts"):
        precision = "int8"
    if target == "micro" and name == "log_mel" and precision == "float32":
        target = "cpu"
    several = isinstance(x, tuple)
    calibration = tuple(each[:60] for each in x) if several else x[:60]
    fresh = tuple(each[60:] for each in x) if several else x[60:]
    options = {"precision": precision, "mode": mode, "target": target, "calibration": calibration}
    text = f"structure {number}: {name}, {', '.join(structures.words)}, {precision}, {mode}, {target}"
    return Case(text, model, calibration, fresh, options)
