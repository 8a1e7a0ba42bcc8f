"""quantize_aware: it trains, saves, loads, goes back to float, and refuses what integers cannot represent."""

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates.quantization.aware import float_model, is_quantize_aware


@pytest.fixture(scope="module")
def events():
    return np.random.default_rng(0).normal(size=(64, 8, 3)).astype("float32")


def classifier(*before, units=6, dense=None):
    layers = [keras.Input((8, 3)), *before, keras_gates.GateLSTM(units), dense or keras.layers.Dense(2)]
    return keras.Sequential(layers)


def test_the_outputs_are_those_of_float_but_for_rounding(events):
    model = classifier()
    aware = keras_gates.quantize_aware(model, calibration=events)
    exact, plain = (each.predict(events, verbose=0) for each in (aware, model))
    assert 0 < np.abs(exact - plain).mean() < 0.02 * np.abs(plain).max()
    assert [w.shape for w in aware.trainable_weights] == [w.shape for w in model.trainable_weights]


def test_a_conversion_says_which_model_to_convert(events):
    aware = keras_gates.quantize_aware(classifier(), calibration=events)
    for conversion in (
        keras_gates.to_keras,
        keras_gates.from_keras,
        lambda model: keras_gates.convert(model, to=keras.layers.RNN),
    ):
        with pytest.raises(TypeError, match=r"quantize_aware.*float_model\(model\)"):
            conversion(aware)
    converted = keras_gates.to_keras(float_model(aware))
    wanted = float_model(aware).predict(events, verbose=0)
    np.testing.assert_allclose(converted.predict(events, verbose=0), wanted, atol=1e-5)


def test_the_cheap_forward_pass_is_within_a_few_steps(events):
    model = classifier()
    x = keras.ops.convert_to_tensor(events)
    aware = keras_gates.quantize_aware(model, calibration=events)
    strict = keras_gates.quantize_aware(model, calibration=events, exact_training=True)
    scale = aware.layers[-1].scale_of("output").scale
    cheap, training, exact = (
        keras.ops.convert_to_numpy(y) for y in (aware(x, training=True), strict(x, training=True), aware(x))
    )
    np.testing.assert_array_equal(training, exact)
    assert np.abs(cheap - exact).max() <= 2.01 * scale


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients by tf.GradientTape")
def test_gradients_pass_the_roundings(events):
    import tensorflow as tf

    model = classifier()
    gradients = []
    for each in (model, keras_gates.quantize_aware(model, calibration=events)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(each(events, training=True) - 1.0))
        gradients.append(np.concatenate([np.ravel(g) for g in tape.gradient(loss, each.trainable_variables)]))
    plain, aware = gradients
    cosine = plain @ aware / np.linalg.norm(plain) / np.linalg.norm(aware)
    assert cosine > 0.999
    assert np.linalg.norm(aware) == pytest.approx(np.linalg.norm(plain), rel=0.05)


@pytest.mark.slow
def test_it_trains_saves_loads_and_resumes(events, tmp_path):
    targets = events[:, -1, 0] > 0
    aware = keras_gates.quantize_aware(
        classifier(dense=keras.layers.Dense(2, activation="softmax")), calibration=events
    )
    aware.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    first = aware.fit(events, targets, epochs=8, verbose=0).history["loss"]
    assert first[-1] < 0.8 * first[0]
    aware.save(tmp_path / "aware.keras")
    loaded = keras.saving.load_model(tmp_path / "aware.keras")
    np.testing.assert_array_equal(loaded.predict(events, verbose=0), aware.predict(events, verbose=0))
    more = [each.fit(events, targets, epochs=1, shuffle=False, verbose=0).history["loss"] for each in (aware, loaded)]
    np.testing.assert_allclose(*more, rtol=1e-4)


def test_back_to_float(events):
    model = classifier(keras.layers.Dropout(0.1))
    aware = keras_gates.quantize_aware(model, calibration=events)
    assert is_quantize_aware(aware)
    back = float_model(aware)
    assert not is_quantize_aware(back)
    np.testing.assert_allclose(back.predict(events, verbose=0), model.predict(events, verbose=0), rtol=1e-5)


@pytest.mark.parametrize(
    "linear",
    [
        lambda: keras.layers.Conv1D(5, 3, padding="causal", use_bias=False),
        lambda: keras.layers.Conv1D(5, 3, strides=2, padding="same"),
        lambda: keras.layers.DepthwiseConv1D(3, depth_multiplier=2, dilation_rate=2),
        lambda: keras.layers.Dense(5),
    ],
)
def test_a_normalization_behind_a_linear_layer_becomes_part_of_its_weights(linear, events):
    """With padding too, where the convolution sees zeros: the factors and shifts apply to what it returns."""
    layers = [linear(), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras_gates.GateLSTM(3)]
    model = keras.Sequential([keras.Input((8, 3)), *layers])
    generator = np.random.default_rng(0)
    for weight in model.weights:
        values = generator.normal(scale=0.6, size=weight.shape)
        weight.assign(np.abs(values) + 0.3 if "variance" in weight.path else values)
    aware = keras_gates.quantize_aware(model, calibration=events)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in aware.layers)
    plain = model.predict(events, verbose=0)
    np.testing.assert_allclose(float_model(aware).predict(events, verbose=0), plain, atol=1e-5)
    assert np.abs(aware.predict(events, verbose=0) - plain).mean() < 0.02 * np.ptp(plain)


def test_four_bits_round_weights_to_fifteen_values(events):
    aware = keras_gates.quantize_aware(classifier(), "int4", calibration=events)
    for layer in aware.layers:
        (numbers,) = layer.file_numbers()
        kernels = [v for name, v in numbers.constants.items() if not name.startswith("bias")]
        assert max(np.abs(k).max() for k in kernels) == 7


def test_calibration_of_every_kind(events):
    scales = []
    by_name = keras.Model(x := keras.Input((8, 3), name="movement"), keras_gates.GateLSTM(2)(x))
    for data in (events, list(events), {"movement": events}):
        scales.append(keras_gates.quantize_aware(by_name, calibration=data).layers[-1].scales)
    assert scales[0] == scales[1] == scales[2]
    ragged = [events[0, :3], events[1]]
    open_time = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(2)])
    assert keras_gates.quantize_aware(open_time, calibration=ragged).layers[0].raw_input


REFUSED = {
    "both formulations": (
        lambda: classifier(keras_gates.GateLSTM(4, formulation="article", return_sequences=True)),
        "same formulation",
    ),
    "own gate": (
        lambda: classifier(keras_gates.GateLSTM(4, forget=keras_gates.OpenForgetGate(4), return_sequences=True)),
        "not the built-in one",
    ),
    "inner dropout": (
        lambda: classifier(keras.layers.LSTM(4, dropout=0.1, return_sequences=True)),
        "Dropout layer before",
    ),
    "GRU": (lambda: classifier(keras.layers.GRU(4, return_sequences=True)), "GRUCell"),
    "layer normalization": (
        lambda: classifier(keras_gates.GateLSTM(4, return_sequences=True), keras.layers.LayerNormalization()),
        "root of squares",
    ),
    "normalization between": (
        lambda: classifier(
            keras_gates.GateLSTM(4, return_sequences=True),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling1D(2),
        ),
        "cannot become part of a layer's weights",
    ),
    "sums of both ways": (
        lambda: classifier(
            keras.layers.Bidirectional(keras_gates.GateLSTM(2, return_sequences=True), merge_mode="sum")
        ),
        "'sum' instead of 'concat'",
    ),
    "groups": (lambda: classifier(keras.layers.Conv1D(3, 3, groups=3)), "groups of channels"),
    "activation": (lambda: classifier(dense=keras.layers.Dense(2, activation="elu")), "activation other than"),
    "half precision": (
        lambda: classifier(keras_gates.GateLSTM(4, dtype="mixed_float16", return_sequences=True)),
        "float16",
    ),
    "nothing": (lambda: keras.Sequential([keras.Input((8, 3)), keras.layers.Flatten()]), "nothing to quantize"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_integers_cannot_represent_is_refused(name, events):
    build, words = REFUSED[name]
    with pytest.raises(keras_gates.InvalidArgument, match=words) as error:
        keras_gates.quantize_aware(build(), calibration=events)
    assert "\n" not in str(error.value)


def test_operations_between_integers_are_refused(events):
    x = keras.Input((8, 3))
    h = keras_gates.GateLSTM(4, return_sequences=True)(x)
    model = keras.Model(x, keras.layers.Dense(2)(h[:, -1]))
    with pytest.raises(keras_gates.InvalidArgument, match="GetItem"):
        keras_gates.quantize_aware(model, calibration=events)


@pytest.mark.parametrize("merge", [keras.layers.Add, keras.layers.Concatenate])
def test_merging_layers_are_refused(merge, events):
    x = keras.Input((8, 3))
    both = [keras_gates.GateLSTM(4)(x), keras_gates.GateLSTM(4, go_backwards=True)(x)]
    model = keras.Model(x, keras.layers.Dense(2)(merge()(both)))
    with pytest.raises(keras_gates.InvalidArgument, match=rf"\({merge.__name__}\) has no integer counterpart here"):
        keras_gates.quantize_aware(model, calibration=events)


def test_an_initial_state_is_refused(events):
    x, h, c = keras.Input((8, 3)), keras.Input((4,)), keras.Input((4,))
    model = keras.Model([x, h, c], keras_gates.GateLSTM(4)(x, initial_state=[h, c]))
    with pytest.raises(keras_gates.InvalidArgument, match="initial state"):
        keras_gates.quantize_aware(model, calibration=(events, *[np.zeros((64, 4), "float32")] * 2))


def test_rows_of_a_stateful_model_can_start_anew(events):
    layer = keras_gates.GateLSTM(4, stateful=True, return_sequences=True)
    aware = keras_gates.quantize_aware(keras.Sequential([keras.Input((8, 3), batch_size=4), layer]), calibration=events)
    first, second = (aware.predict(events[:4], verbose=0, batch_size=4) for _ in range(2))
    assert np.abs(first - second).max() > 0
    for state in aware.layers[0].states:
        state.assign(keras.ops.zeros_like(state))
    np.testing.assert_array_equal(aware.predict(events[:4], verbose=0, batch_size=4), first)


def test_an_adapted_normalization_in_front_is_kept(events, tmp_path):
    x = 700 + 50 * events
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    model = classifier(normalization)
    aware = keras_gates.quantize_aware(model, calibration=x)
    aware.save(tmp_path / "aware.keras")
    plain = model.predict(x, verbose=0)
    for each in (aware, keras.saving.load_model(tmp_path / "aware.keras"), float_model(aware)):
        assert np.abs(each.predict(x, verbose=0) - plain).max() < 0.1 * np.abs(plain).max()


def test_arguments_are_checked(events):
    with pytest.raises(keras_gates.InvalidArgument, match="calibration="):
        keras_gates.quantize_aware(classifier(), events)
    with pytest.raises(keras_gates.InvalidArgument, match=r"batch 1 .* NaN"):
        keras_gates.quantize_aware(
            classifier(), calibration=np.where(np.arange(64)[:, None, None] == 40, np.nan, events)
        )
    with pytest.raises(keras_gates.InvalidArgument, match="LiteRT runs no LSTM operator with activations of 16 bits"):
        keras_gates.quantize_aware(classifier(), "int16x8", calibration=events, arithmetic="litert")
    with pytest.raises(keras_gates.InvalidArgument, match="litert, tflm"):
        keras_gates.quantize_aware(classifier(), calibration=events, arithmetic="gemmlowp")
    with pytest.raises(keras_gates.InvalidArgument, match="int8, int4, int16x8"):
        keras_gates.quantize_aware(classifier(), "int2", calibration=events)
    with pytest.raises(keras_gates.InvalidArgument, match="calibration"):
        keras_gates.quantize_aware(classifier())
    with pytest.raises(keras_gates.InvalidArgument, match="already"):
        keras_gates.quantize_aware(keras_gates.quantize_aware(classifier(), calibration=events), calibration=events)


def test_a_layer_used_twice_is_refused(events):
    x = keras.Input((8, 3))
    dense = keras.layers.Dense(3)
    model = keras.Model(x, keras_gates.GateLSTM(2)(dense(dense(x))))
    with pytest.raises(keras_gates.InvalidArgument, match="called 2 times"):
        keras_gates.quantize_aware(model, calibration=events)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")
def test_other_precisions_are_refused_by_export(events, tmp_path):
    aware = keras_gates.quantize_aware(classifier(), calibration=events)
    with pytest.raises(keras_gates.ExportError, match="precision='int8'"):
        keras_gates.export(aware, tmp_path, ["tflite"], "float16")
