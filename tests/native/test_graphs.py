"""Where the native loop must not run, or meets other parts of TensorFlow: saved graphs, XLA, strategies, threads, tapes."""

import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import BACKEND, FEATURES, TIME, UNITS, WITHOUT_KERNEL, assert_close, data, numpy, randomise

import keras_gates
from keras_gates import GateLSTM

if BACKEND != "tensorflow":
    pytest.skip("graphs are TensorFlow's", allow_module_level=True)
if WITHOUT_KERNEL:
    pytest.skip(f"the native kernel does not run: {WITHOUT_KERNEL}", allow_module_level=True)

import tensorflow as tf

X, Y = data(12, TIME, FEATURES), data(12, 1)
OPERATOR = b"KerasGates>"


def trained(loop="auto"):
    keras.utils.set_random_seed(3)
    layer = GateLSTM(UNITS, loop=loop)
    model = keras.Sequential([keras.Input((TIME, FEATURES)), layer, keras.layers.Dense(1)])
    randomise(model)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


@pytest.fixture(scope="module")
def model():
    """A model whose graphs of training and prediction were traced before anything is saved."""
    model = trained()
    model.fit(X, Y, batch_size=6, verbose=0)
    model.predict(X, verbose=0)
    return model


@pytest.fixture(scope="module")
def wanted(model):
    return model.predict(X, verbose=0)


@pytest.fixture(scope="module")
def plain_tensorflow(tmp_path_factory):
    """Serve a SavedModel in a process that has no keras_gates; return what it answers to X."""

    def serve(folder):
        files = tmp_path_factory.mktemp("served")
        np.save(files / "x.npy", X)
        program = (
            "import sys, numpy as np, tensorflow as tf\n"
            "model = tf.saved_model.load(sys.argv[1])\n"
            "served = model.signatures['serving_default']\n"
            "name, = served.structured_input_signature[1]\n"
            "result, = served(**{name: tf.constant(np.load(sys.argv[2] + '/x.npy'))}).values()\n"
            "np.save(sys.argv[2] + '/y.npy', result)\n"
            "assert not any(module.startswith('keras_gates') for module in sys.modules)\n"
        )
        command = [sys.executable, "-c", program, str(folder), str(files)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=files, check=False)
        assert done.returncode == 0, done.stderr
        return np.load(files / "y.npy")

    return serve


def contains_operator(folder):
    return OPERATOR in (folder / "saved_model.pb").read_bytes()


def test_the_native_loop_runs_where_graphs_stay(model):
    assert model.layers[0].explain().name == "native"
    types = {op.type for function in _functions(model.predict_function) for op in function.graph.get_operations()}
    assert "KerasGates>Lstm" in types


def _functions(function):
    """The concrete functions of a `tf.function` and those that they call."""
    todo, seen = list(function._list_all_concrete_functions()), []
    while todo:
        one = todo.pop()
        seen.append(one)
        todo += [c for c in one.graph._functions.values() if hasattr(c, "graph") and c not in seen]
    return seen


def test_model_export(model, wanted, tmp_path, plain_tensorflow):
    model.export(tmp_path / "exported", verbose=False)
    assert not contains_operator(tmp_path / "exported")
    assert_close(plain_tensorflow(tmp_path / "exported"), wanted, "served", 1e-6)
    assert_close(
        numpy(keras.layers.TFSMLayer(tmp_path / "exported", call_endpoint="serve")(X)), wanted, "TFSMLayer", 1e-6
    )


def test_functions_that_were_called_before_they_are_saved(model, wanted, tmp_path):
    class Served(tf.Module):
        def __init__(self):
            self.variables_of_model = [variable.value for variable in model.variables]

        @tf.function
        def free(self, x):
            return model(x)

        @tf.function(input_signature=[tf.TensorSpec((None, TIME, FEATURES))])
        def serving(self, x):
            return model(x)

    served = Served()
    assert_close(numpy(served.free(tf.constant(X))), wanted, "called", 1e-6)
    assert_close(numpy(served.serving(tf.constant(X))), wanted, "called", 1e-6)
    tf.saved_model.save(served, tmp_path / "saved", signatures=served.serving)
    assert not contains_operator(tmp_path / "saved")
    loaded = tf.saved_model.load(tmp_path / "saved")
    assert_close(numpy(loaded.free(tf.constant(X))), wanted, "loaded", 1e-6)
    concrete = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((None, TIME, FEATURES)))
    assert not any(op.type.startswith("KerasGates") for op in concrete.graph.get_operations())


def test_a_graph_with_the_operator_is_not_saved(model, tmp_path):
    """`strategy.run` traces in another thread, which does not know what it is traced for."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])

    class Served(tf.Module):
        @tf.function
        def run(self, x):
            return strategy.run(model, args=(x,))

    served = Served()
    served.variables_of_model = [variable.value for variable in model.variables]
    served.run(tf.constant(X))
    with pytest.raises((KeyError, AssertionError), match="keras_gates_native_loop: this function was traced"):
        tf.saved_model.save(served, tmp_path / "saved")


def test_pickled_cloned_and_saved_models_are_the_same(model, wanted, tmp_path):
    import pickle

    model.save(tmp_path / "model.keras")
    for copy in (keras.models.load_model(tmp_path / "model.keras"), pickle.loads(pickle.dumps(model))):
        assert copy.layers[0].explain().name == "native"
        assert_close(copy.predict(X, verbose=0), wanted, "copy", 1e-6)


def test_xla_compiles_the_whole_model(model, wanted):
    compiled = tf.function(lambda x: model(x), jit_compile=True)
    assert_close(numpy(compiled(tf.constant(X))), wanted, "under XLA", 1e-5)


def test_each_way_of_training_gives_the_same_weights():
    def weights(steps=None, loop="auto", **options):
        model = trained(loop)
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=steps), "mse", **options)
        model.fit(X, Y, batch_size=6, epochs=2, shuffle=False, verbose=0)
        return model.get_weights()

    wanted = weights(loop="portable")
    for options in ({}, {"run_eagerly": True}):
        assert_close(weights(**options), wanted, str(options), 1e-5)
    assert_close(weights(steps=2), weights(steps=2, loop="portable"), "accumulated", 1e-5)


def test_a_tape_around_a_function_that_was_traced_without_one(model):
    layer = model.layers[0]
    function = tf.function(lambda x: layer(x))
    x = tf.constant(X)
    function(x)

    def slopes(run):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(run(x) ** 2)
        return numpy(tape.gradient(loss, [x, *[variable.value for variable in layer.trainable_variables]]))

    assert_close(slopes(function), slopes(layer), "gradients", 1e-5)


def test_jacobians_and_vectorized_map(model):
    layer, x = model.layers[0], tf.constant(X[:2])
    portable = GateLSTM.from_config({**layer.get_config(), "loop": "portable"})
    portable.build(x.shape)
    portable.set_weights(layer.get_weights())

    def jacobian(layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x)
        return numpy(tape.jacobian(outputs, x))

    assert_close(jacobian(layer), jacobian(portable), "jacobian", 1e-5)
    mapped = tf.vectorized_map(lambda one: layer(one[None])[0], x)
    assert_close(numpy(mapped), numpy(layer(x)), "vectorized_map", 1e-5)


def test_prediction_from_several_threads(model, wanted):
    results = [None] * 4

    def run(n):
        results[n] = [numpy(model(tf.constant(X))) for _ in range(5)] + [model.predict_on_batch(X)]

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        assert_close(result, [wanted] * 6, "thread", 1e-6)


def test_nothing_is_saved_without_a_tape(model):
    """The operator's `save` attribute: set where a gradient may follow, and nowhere else."""

    def saves(function):
        operations = [op for f in _functions(function) for op in f.graph.get_operations()]
        return {op.get_attr("save") for op in operations if op.type == "KerasGates>Lstm"}

    layer = model.layers[0]
    variables = [variable.value for variable in layer.trainable_variables]

    @tf.function
    def forward(x):
        return layer(x)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x))
        return tape.gradient(loss, variables)

    forward(X), step(X)
    assert (saves(forward), saves(step)) == ({False}, {True})


TWO_DEVICES = """
import keras, numpy as np, tensorflow as tf
from keras_gates import GateLSTM
cpu, two = tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
x, y = np.random.default_rng(0).normal(size=(16, 5, 3)).astype("float32"), np.ones((16, 1), "float32")
def weights(strategy, loop):
    with strategy.scope():
        layer = GateLSTM(4, loop=loop, seed=1)
        model = keras.Sequential([keras.Input((5, 3)), layer, keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    keras.utils.set_random_seed(0)
    model.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in model.get_weights()])
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()
mirrored = weights(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), "native")
for a, b in zip(mirrored, weights(tf.distribute.get_strategy(), "portable")):
    np.testing.assert_allclose(a, b, atol=1e-5)
"""


def test_two_devices_train_as_one():
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_keras_gates_export(model, wanted, tmp_path):
    report = keras_gates.export(model, tmp_path / "out", formats=["saved_model"])
    folder = Path(report.files["saved_model"])
    assert not contains_operator(folder)
    loaded = tf.saved_model.load(folder)
    (served,) = keras.tree.flatten(loaded.serve(X))
    assert_close(numpy(served), wanted, "served", 1e-6)
