"""Models and data of other people: what `export` must serve, refuse in one sentence, or leave as it was."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="verification needs ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)

from keras_gates import ExportError, GateLSTM, export
from keras_gates.edge import EdgeModel
from keras_gates.exporting import pipeline

TIME, FEATURES = 6, 3
X = np.random.default_rng(0).normal(size=(40, TIME, FEATURES)).astype("float32")


def classifier(name="event", units=4):
    events = keras.Input((TIME, FEATURES), name=name)
    return keras.Model(events, keras.layers.Dense(2, activation="softmax")(GateLSTM(units)(events)))


@pytest.mark.parametrize("position", [3, 4], ids=["calibration", "held_out"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_named_by_sample_and_position(tmp_path, position, value):
    x = X.copy()
    x[position, 2, 1] = value
    with pytest.raises(ExportError, match=rf"sample {position}.*\(2, 1\)"):
        export(classifier(), tmp_path, ["tflite"], "int8", calibration=x)
    assert not list(tmp_path.iterdir())


def test_any_input_name_goes_through(tmp_path):
    names = ["1st_input", "in", "class", "self", "größe", "_x", "kernel", "lengths", "a b", "x-y"]
    inputs = [keras.Input((TIME, 1), name=name) for name in names]
    model = keras.Model(inputs, keras.layers.Dense(2)(GateLSTM(4)(keras.layers.Concatenate()(inputs))))
    export(model, tmp_path, ["tflite", "saved_model"], "float32")
    x = np.random.default_rng(1).normal(size=(len(names), 2, TIME, 1)).astype("float32")
    got = EdgeModel(tmp_path / "model.tflite").predict(dict(zip(names, x)))
    np.testing.assert_allclose(got, model.predict(list(x), verbose=0), atol=1e-5)


@pytest.mark.parametrize("name", ["class", "größe"])
def test_a_single_input_is_given_by_its_name_or_without(tmp_path, name):
    model = classifier(name)
    export(model, tmp_path, ["tflite"], "float32")
    loaded = EdgeModel(tmp_path / "model.tflite")
    wanted = model.predict(X[:2], verbose=0)
    np.testing.assert_allclose(loaded.predict(X[:2]), wanted, atol=1e-5)
    np.testing.assert_allclose(loaded.predict({name: X[:2]}), wanted, atol=1e-5)


def generator():
    for i in range(len(X)):
        yield X[i : i + 1]


def representative():
    for i in range(len(X)):
        yield [X[i : i + 1]]


def by_name():
    for i in range(len(X)):
        yield {"event": X[i : i + 1]}


KINDS = {
    "generator": generator,
    "representative dataset function": lambda: representative,
    "representative dataset by name": lambda: by_name,
    "nested lists": lambda: X.tolist(),
    "float64": lambda: X.astype("float64"),
    "pandas": lambda: [__import__("pandas").DataFrame(x) for x in X],
}


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_data_of_every_kind(tmp_path, kind):
    keras.utils.set_random_seed(0)
    model = classifier()
    report = export(model, tmp_path / "a", ["tflite"], "int8", calibration=KINDS[kind]())
    same = export(model, tmp_path / "b", ["tflite"], "int8", calibration=X)
    assert report.samples == same.samples
    assert (tmp_path / "a/model.tflite").read_bytes()[-2000:] == (tmp_path / "b/model.tflite").read_bytes()[-2000:]


def test_sequences_of_different_length_are_cut_or_refused_in_one_sentence(tmp_path):
    ragged = [x[: 3 + i % 4] for i, x in enumerate(X)]
    events = keras.Input((None, FEATURES))
    model = keras.Model(events, keras.layers.Dense(2)(GateLSTM(4)(keras.layers.Masking()(events))))
    export(model, tmp_path, ["tflite"], "int8", calibration=ragged)
    with pytest.raises(ExportError, match="steps"):
        export(classifier(), tmp_path / "no", ["tflite"], "int8", calibration=ragged)
    assert not (tmp_path / "no").exists() or not list((tmp_path / "no").iterdir())


def test_labels_of_the_wrong_number_are_refused_at_export(tmp_path):
    with pytest.raises(ExportError, match=r"3 labels.*2"):
        export(classifier(), tmp_path, ["tflite"], metadata={"labels": ["a", "b", "c"]})
    report = export(classifier(), tmp_path, ["tflite"], metadata={"labels": np.array(["a", "b"])})
    assert EdgeModel(report.files["tflite"]).labels == ("a", "b")
    for words in ([1, 2], "ab", {"a": 1}):
        for name in ("labels", "vocabulary"):
            with pytest.raises(ExportError, match=f"{name} must be a list of strings; got") as caught:
                export(classifier(), tmp_path, ["tflite"], metadata={name: words})
            assert "\n" not in str(caught.value)
    assert pipeline._plain({"labels": np.array([3, 7])}) == {"labels": ["3", "7"]}  # a scikit-learn encoder's classes_


class Subclassed(keras.Model):
    def __init__(self, tokens=False):
        super().__init__()
        self.embedding = keras.layers.Embedding(7, 4) if tokens else None
        self.memory, self.head = GateLSTM(4), keras.layers.Dense(2)

    def call(self, inputs, training=False):
        x = inputs["event"] if isinstance(inputs, dict) else inputs[0] if isinstance(inputs, list | tuple) else inputs
        return self.head(self.memory(self.embedding(x) if self.embedding is not None else x))


@pytest.mark.parametrize("kind", ["array", "list", "tuple", "dict"])
def test_subclassed_models_take_inputs_of_every_structure(tmp_path, kind):
    wrap = {"array": lambda x: x, "list": lambda x: [x], "tuple": lambda x: (x,), "dict": lambda x: {"event": x}}[kind]
    model = Subclassed()
    wanted = np.asarray(model(wrap(X[:2])))
    export(model, tmp_path, ["tflite"])
    np.testing.assert_allclose(EdgeModel(tmp_path / "model.tflite").predict(X[:2]), wanted, atol=1e-5)


class _Private(Subclassed):
    """Keras names it `__private`, which no graph accepts as its first scope."""


def test_a_model_whose_class_begins_with_an_underscore_is_refused_in_one_sentence(tmp_path):
    model = _Private()
    model(X[:2])
    with pytest.raises(ExportError, match=r"'__private'.*name="):
        export(model, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_subclassed_token_models_keep_to_the_embedding(tmp_path, precision):
    model = Subclassed(tokens=True)
    tokens = np.random.default_rng(1).integers(0, 7, (40, TIME)).astype("int32")
    wanted = np.asarray(model(tokens))
    export(model, tmp_path, ["tflite"], precision, calibration=tokens)
    got = EdgeModel(tmp_path / "model.tflite").predict(tokens[:5])
    np.testing.assert_allclose(got, wanted[:5], atol=1e-5 if precision == "float32" else 0.1 * np.ptp(wanted))


def test_int8_normalization_between_two_lstms(tmp_path):
    keras.utils.set_random_seed(0)
    events = keras.Input((TIME, FEATURES))
    x = keras.layers.BatchNormalization()(GateLSTM(5, return_sequences=True)(events))
    model = keras.Model(events, keras.layers.Dense(2, activation="softmax")(GateLSTM(4)(x)))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, np.arange(40) % 2, epochs=2, verbose=0)
    export(model, tmp_path, ["tflite"], "int8", calibration=X)
    wanted = model.predict(X, verbose=0)
    got = EdgeModel(tmp_path / "model.tflite").predict(X)
    assert np.abs(got - wanted).mean() < 0.1 * np.abs(wanted - wanted.mean(0)).mean()


@pytest.mark.parametrize("pool", [keras.layers.MaxPooling1D, keras.layers.AveragePooling1D])
def test_int8_pooling_before_a_backward_lstm(tmp_path, pool):
    """The quantizer gave the reversal after the pooling another scale than its input."""
    keras.utils.set_random_seed(0)
    events = keras.Input((TIME, FEATURES))
    x = keras.layers.Bidirectional(keras.layers.LSTM(4))(pool(2)(keras.layers.Conv1D(5, 1)(events)))
    model = keras.Model(events, keras.layers.Dense(2)(x))
    report = export(model, tmp_path, ["tflite"], "int8", calibration=X)
    assert report.mean_difference < 0.1 * report.outputs["prediction"]["spread"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_repetition_negation_and_wide_windows_run_on_microcontrollers(tmp_path, precision):
    """TFLM has no TILE, joins at most ten tensors, and NEG has no integer kernel."""
    pytest.importorskip("tflite_micro", reason="the file is for TFLM: pip install --pre tflite-micro")
    x = np.random.default_rng(2).normal(size=(60, 34, FEATURES)).astype("float32")
    events = keras.Input((34, FEATURES))
    window = keras.layers.Concatenate()([events[:, start : start + 5] for start in range(30)])
    last = -GateLSTM(4)(-window)
    repeated = GateLSTM(3, return_sequences=True)(keras.layers.RepeatVector(12)(last))
    model = keras.Model(events, keras.layers.Dense(2)(repeated))
    report = export(model, tmp_path, ["tflite"], precision, target="micro", calibration=x)
    assert not {"TILE", "NEG"} & set(report.operators)
    assert report.mean_difference < 0.15 * report.outputs["prediction"]["spread"]


def test_stateful_stacked_cells(tmp_path):
    cells = [keras.layers.LSTMCell(4), keras.layers.LSTMCell(3)]
    events = keras.Input((TIME, FEATURES), batch_size=1)
    model = keras.Model(events, keras.layers.Dense(2)(keras.layers.RNN(cells, stateful=True)(events)))
    model.predict(X[:1], verbose=0)
    assert export(model, tmp_path, ["tflite"]).max_difference < 1e-5


def test_float32_files_of_good_models_are_not_withheld(tmp_path):
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        events = keras.Input((40, 8))
        x = GateLSTM(64, return_sequences=True)(events)
        model = keras.Model(events, keras.layers.Dense(1)(keras.layers.LSTM(64)(x)))
        model.set_weights([3 * w for w in model.get_weights()])
        report = export(model, tmp_path / str(seed), ["tflite"])
        assert report.mean_difference < report.tolerance


def test_a_nested_mask_through_time_distributed(tmp_path):
    events = keras.Input((TIME, FEATURES))
    x = keras.layers.TimeDistributed(keras.layers.Dense(4))(keras.layers.Masking()(events))
    model = keras.Model(events, keras.layers.Dense(2)(GateLSTM(4)(x)))
    x = X.copy()
    x[:, 4:] = 0
    export(model, tmp_path, ["tflite"], calibration=x)
    wanted = model.predict(x[:3], verbose=0)
    np.testing.assert_allclose(EdgeModel(tmp_path / "model.tflite").predict(x[:3]), wanted, atol=1e-5)


@pytest.fixture(scope="module")
def texts_model():
    keras.utils.set_random_seed(0)
    texts = keras.Input((), dtype="string", name="text")
    words = keras.layers.TextVectorization(output_sequence_length=4, vocabulary=["turn", "on", "off"], name="words")
    return keras.Model(texts, GateLSTM(3)(keras.layers.Embedding(5, 2, mask_zero=True)(words(texts))))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_model_of_texts_takes_texts_on_the_device(tmp_path, texts_model, precision):
    texts = np.array(["Turn on!", "off", "", "turn it OFF, on off turn", "on on on"])
    calibration = np.repeat(texts, 8) if precision == "int8" else None
    report = export(texts_model, tmp_path, ["tflite"], precision, calibration=calibration)
    assert any("takes tokens" in note and "vocabulary of 5 words" in note for note in report.notes)
    assert "CAST" not in report.operators  # of int64 tokens: TFLM has no such kernel, and int16x8 no scale for it
    got = EdgeModel(tmp_path / "model.tflite").predict(texts.tolist())
    wanted = texts_model.predict(keras.ops.convert_to_tensor(texts, "string"), verbose=0)
    np.testing.assert_allclose(got, wanted, atol=1e-5 if precision == "float32" else 0.02)


def test_texts_that_the_device_cannot_tokenize_are_refused_in_one_sentence(tmp_path):
    texts = keras.Input((), dtype="string", name="text")
    words = keras.layers.TextVectorization(output_mode="multi_hot", vocabulary=["a", "b"])
    model = keras.Model(texts, keras.layers.Dense(2)(words(texts)))
    with pytest.raises(ExportError, match=r"'text' takes texts.*vocabulary"):
        export(model, tmp_path, ["tflite"])
    assert not list(tmp_path.iterdir())


def test_a_saved_model_keeps_its_text_layer(tmp_path, texts_model):
    report = export(texts_model, tmp_path, ["saved_model"])
    assert any("texts" in note for note in report.notes)
    import tensorflow as tf

    texts = tf.constant(["turn on", "off"])
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    got = loaded.serve(texts)
    np.testing.assert_allclose(next(iter(got.values())), texts_model(texts), atol=1e-6)
