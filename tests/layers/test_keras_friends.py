"""The rest of Keras around the layer: cloning, wrappers, data of every kind, callbacks, freezing, export, quantization."""

import contextlib

import keras
import numpy as np
import pytest
from helpers import BACKEND, BATCH, EVENTS, FEATURES, TIME, UNITS, assert_close, data, numpy, randomise

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell

X, Y = data(16, TIME, FEATURES), data(16, 1)


def model(layer=None):
    made = keras.Sequential([keras.Input((TIME, FEATURES)), layer or GateLSTM(UNITS), keras.layers.Dense(1)])
    made.compile(keras.optimizers.SGD(0.1), "mse")
    return made


@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_clone_model(formulation):
    layer = GateLSTM(UNITS, formulation=formulation, forget=keras_gates.PeepholeForgetGate(UNITS))
    made = randomise(model(layer))
    clone = keras.models.clone_model(made)
    assert clone.get_config() == made.get_config()
    assert clone.layers[0].cell.forget is not made.layers[0].cell.forget
    clone.set_weights(made.get_weights())
    assert_close(numpy(clone(X)), numpy(made(X)), "clone")


def test_time_distributed():
    layer = keras.layers.TimeDistributed(GateLSTM(UNITS))
    x = data(2, 3, TIME, FEATURES)
    layer(x)
    randomise(layer)
    wanted = np.stack([numpy(layer.layer(x[:, k])) for k in range(3)], axis=1)
    assert_close(numpy(layer(x)), wanted, "each step alone")


def test_bidirectional_trains_and_keeps_the_arguments_of_ours():
    layer = keras.layers.Bidirectional(
        GateLSTM(UNITS, formulation="article", loop="general", implementation=1, use_cudnn=False)
    )
    for part in (layer.forward_layer, layer.backward_layer):
        assert (part.formulation, part.loop, part.implementation, part.use_cudnn) == ("article", "general", 1, False)
    assert np.isfinite(model(layer).fit(X, Y, verbose=0).history["loss"]).all()


def test_summary_shows_the_gates(capsys):
    model().summary(expand_nested=True)
    printed = capsys.readouterr().out
    for name in ("LearnGate", "ForgetGate", "RememberGate", "UseGate"):
        assert name in printed


def test_plot_model(tmp_path):
    pytest.importorskip("pydot", reason="pydot is not installed")
    if not keras.src.utils.model_visualization.check_graphviz():
        pytest.skip("graphviz is not installed")
    keras.utils.plot_model(model(), tmp_path / "m.png", expand_nested=True, show_shapes=True)
    assert (tmp_path / "m.png").stat().st_size > 1000


def test_numpy_inputs_of_other_dtypes():
    made = model()
    wanted = made.predict(np.round(X), verbose=0)
    for dtype in ("float64", "float16", "int32"):
        assert_close(made.predict(np.round(X).astype(dtype), verbose=0), wanted, dtype)


def test_tf_data():
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    made = model()
    history = made.fit(tf.data.Dataset.from_tensor_slices((X, Y)).batch(5), epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    assert made.predict(tf.data.Dataset.from_tensor_slices(X).batch(5), verbose=0).shape == (16, 1)


def test_a_python_dataset_with_lengths_that_vary():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, k):
            return data(2, 3 + k, FEATURES), data(2, 1)

    made = keras.Sequential([keras.Input((None, FEATURES)), GateLSTM(UNITS), keras.layers.Dense(1)])
    made.compile("sgd", "mse")
    assert np.isfinite(made.fit(Batches(), verbose=0).history["loss"]).all()


def test_pandas():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X.reshape(16, -1))
    made = keras.Sequential([keras.Input((TIME * FEATURES,)), keras.layers.Reshape((TIME, FEATURES)), GateLSTM(UNITS)])
    assert_close(made.predict(frame, verbose=0), made.predict(X.reshape(16, -1), verbose=0), "a DataFrame")


def test_callbacks(tmp_path):
    made = model()
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss", save_best_only=True),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
    ]
    with contextlib.suppress(ImportError):
        import tensorboard  # noqa: F401

        callbacks.append(keras.callbacks.TensorBoard(tmp_path / "logs", histogram_freq=1))
    history = made.fit(X, Y, validation_data=(X, Y), epochs=3, verbose=0, callbacks=callbacks).history
    assert history["loss"][-1] < history["loss"][0]
    best = keras.models.load_model(tmp_path / "best.keras")
    assert_close(best.predict(X, verbose=0), made.predict(X, verbose=0), "checkpoint", absolute=1e-6)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("gate", ["learn", "forget", "use"])
@pytest.mark.parametrize("make", [GateLSTM, lambda u: keras.layers.RNN(GateLSTMCell(u))])
def test_freezing_one_gate(gate, make):
    layer = make(UNITS)
    getattr(layer.cell, gate).trainable = False
    made = model(layer)
    before = {v.path: numpy(v) for v in layer.weights}
    assert len(layer.trainable_variables) == 6
    made.fit(X, Y, epochs=1, verbose=0)
    for variable in layer.weights:
        if "seed" not in variable.path:
            moved = np.abs(numpy(variable) - before[variable.path]).max() > 0
            assert moved == (f"/{gate}/" not in variable.path), variable.path


def test_export_of_a_saved_model(tmp_path):
    if BACKEND == "torch":
        pytest.skip("torch: Keras exports SavedModels from TensorFlow and JAX only")
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    made = model(GateLSTM(UNITS, formulation="article"))
    try:
        made.export(tmp_path / "saved", verbose=False)
    except ImportError as error:
        pytest.skip(f"jax: {error}")
    loaded = tf.saved_model.load(tmp_path / "saved")
    assert_close(loaded.serve(tf.constant(X)).numpy(), made.predict(X, verbose=0), "served")


def test_quantize_leaves_the_gates_float():
    made = model()
    made.quantize("int8")
    assert {str(keras.backend.standardize_dtype(v.dtype)) for v in made.layers[0].trainable_variables} == {"float32"}
    assert any("int8" in str(v.dtype) for v in made.layers[1].weights)
    assert np.isfinite(made.predict(X, verbose=0)).all()


def test_unknown_batch_in_a_functional_model_with_states():
    events, stm, ltm = keras.Input((None, FEATURES)), keras.Input((UNITS,)), keras.Input((UNITS,))
    outputs = GateLSTM(UNITS, return_state=True)(events, initial_state=[stm, ltm])
    made = keras.Model([events, stm, ltm], outputs)
    memories = [data(BATCH, UNITS, seed=s) for s in (1, 2)]
    got = made.predict([EVENTS, *memories], verbose=0)
    assert [o.shape for o in got] == [(BATCH, UNITS)] * 3
    first = made.predict([EVENTS[:, :2], *memories], verbose=0)
    assert_close(made.predict([EVENTS[:, 2:], *first[1:]], verbose=0), got, "in two parts")


def test_lora_like_training_of_a_part():
    layer = GateLSTM(UNITS)
    made = model(layer)
    layer.trainable = False
    assert made.layers[0].trainable_variables == []
    layer.trainable = True
    assert len(made.layers[0].trainable_variables) == 9


def test_keras_tuner(tmp_path):
    tuner_module = pytest.importorskip("keras_tuner", reason="KerasTuner is not installed")

    def build(hp):
        return model(GateLSTM(hp.Int("units", 2, 4), formulation=hp.Choice("formulation", ["standard", "article"])))

    tuner = tuner_module.RandomSearch(build, objective="loss", max_trials=2, directory=tmp_path)
    tuner.search(X, Y, epochs=1, verbose=0)
    assert tuner.get_best_models()[0].predict(X, verbose=0).shape == (16, 1)
