"""Conversion of models that cannot be serialized: nothing registered, lambdas, custom layers, losses, metrics, wrappers."""

import keras
import numpy as np
import pytest
from helpers import EVENTS, FEATURES, TIME, UNITS, assert_close, data, numpy, randomise
from keras import ops

from keras_gates import CoupledForgetGate, GateLSTM, convert, from_keras, to_keras, trace

L = keras.layers


def relu(x):  # called as Keras' own, but another function
    return ops.tanh(x) + 0.1 * x


class Scale(L.Layer):
    """Not registered, without get_config, with a weight and an argument that is a function."""

    def __init__(self, units, function):
        super().__init__()
        self.units, self.function = units, function

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x):
        return self.function(x @ self.kernel)


class Block(L.Layer):
    """Takes a layer as an argument and does not say so in a config."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


class Renamed(L.Dense):
    """Its config holds other names than its constructor takes."""

    def __init__(self, width, **kwargs):
        super().__init__(width, **kwargs)

    def get_config(self):
        config = super().get_config()
        return {"name": self.name, "width": config["units"], "activation": config["activation"]}


class Loss(keras.losses.Loss):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def call(self, y, p):
        return self.weight * ops.mean(ops.square(y - p), -1)


class Metric(keras.metrics.Mean):
    def __init__(self, power, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def update_state(self, y, p, sample_weight=None):
        return super().update_state(ops.abs(y - p) ** self.power)


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1


factor = 0.5  # a global that a lambda uses: a lambda that was marshalled does not find it


def odd_model():
    inputs = keras.Input((TIME, FEATURES))
    x = L.Lambda(lambda x: factor * x)(inputs)
    x = Scale(FEATURES, lambda x: x - factor)(x) + x[:, :, :1]
    x = L.TimeDistributed(L.Dense(FEATURES, activation=lambda x: ops.sin(factor * x)))(x)
    x = L.LSTM(UNITS, activation=relu, recurrent_activation=lambda x: ops.sigmoid(2 * x), return_sequences=True)(x)
    x = Block(L.Dense(UNITS, kernel_regularizer=lambda w: ops.sum(w**2)))(x)
    forward, backward = (
        L.LSTM(3, return_sequences=True, use_cudnn=False),
        L.LSTM(3, return_sequences=True, go_backwards=True, activation=lambda x: ops.sin(x)),
    )
    both = L.Bidirectional(forward, backward_layer=backward)
    both.backward_layer.use_cudnn = "auto"  # the constructor gives it the forward layer's
    x = both(x)
    inner = keras.Sequential([keras.Input((TIME, 6)), L.LSTM(2, activation=relu), Renamed(3, activation=relu)])
    inner.compile(loss=lambda y, p: ops.mean(y - p))
    return keras.Model(inputs, inner(x))


def test_a_model_that_cannot_be_serialized():
    model = randomise(odd_model())
    schedule = Schedule()
    model.compile(keras.optimizers.SGD(schedule), Loss(2.0), metrics=[Metric(3), lambda y, p: y - p, "mse"])
    wanted = numpy(model(EVENTS))
    named = from_keras(model)
    assert_close(numpy(named(EVENTS)), wanted, "with gates")
    assert [type(layer).__name__ for layer in named._flatten_layers() if isinstance(layer, L.RNN)] == ["GateLSTM"] * 4
    readable = convert(named, to=L.RNN)
    assert_close(numpy(readable(EVENTS)), wanted, "as RNN")
    assert_close(numpy(convert(readable, to=GateLSTM)(EVENTS)), wanted, "back as GateLSTM")
    back = to_keras(named)
    assert_close(numpy(back(EVENTS)), wanted, "back")
    for one in (named, back):
        both = next(layer for layer in one.layers if isinstance(layer, L.Bidirectional))
        assert (both.forward_layer.use_cudnn, both.backward_layer.use_cudnn) == (False, "auto")
        assert one.optimizer is not model.optimizer
        assert one.loss is model.loss
    y = data(len(EVENTS), 3)
    wanted = model.evaluate(EVENTS, y, verbose=0, return_dict=True)
    got = named.evaluate(EVENTS, y, verbose=0, return_dict=True)
    assert got.keys() == wanted.keys()
    assert_close(np.array(list(got.values())), np.array(list(wanted.values())), "loss and metrics", absolute=1e-4)
    before = [numpy(v) for v in model.weights]
    for variable in named.trainable_variables:
        variable.assign(np.ones(variable.shape))
    for variable, value in zip(model.weights, before):
        np.testing.assert_array_equal(numpy(variable), value, variable.path)


class OldLSTM(L.LSTM):
    """The shim that files of Keras 2 need: it accepts an argument that is no more."""

    def __init__(self, *args, time_major=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.time_major = time_major

    def get_config(self):
        return {**super().get_config(), "time_major": self.time_major}


class OwnCall(L.LSTM):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        return 2 * super().call(sequences, initial_state, mask, training)


def test_a_subclass_that_overrides_only_its_constructor_or_config():
    model = randomise(keras.Sequential([keras.Input((TIME, FEATURES)), OldLSTM(UNITS, use_cudnn=False, name="a")]))
    named = from_keras(model)
    assert type(named.layers[0]) is GateLSTM
    assert not named.layers[0].use_cudnn
    assert_close(numpy(named(EVENTS)), numpy(model(EVENTS)), "converted")
    traced = trace(model, EVENTS)["a"]
    assert_close(traced.forget, trace(named, EVENTS)["a"].forget, "traced as it is")


def test_a_subclass_that_overrides_how_it_runs_is_left_alone():
    layers = [keras.Input((TIME, FEATURES)), OwnCall(3, return_sequences=True, name="own"), L.LSTM(UNITS)]
    model = randomise(keras.Sequential(layers))
    with pytest.warns(UserWarning, match=r"own \(OwnCall\) overrides call of keras.layers.LSTM, so it stays as it is"):
        named = from_keras(model)
    assert [type(layer) for layer in named.layers] == [OwnCall, GateLSTM]
    assert_close(numpy(named(EVENTS)), numpy(model(EVENTS)), "half of it converted")
    with pytest.raises(TypeError, match=r"own \(OwnCall\) overrides call"):
        from_keras(model.layers[0])


def test_custom_gates_need_not_be_registered():
    class Slow(CoupledForgetGate):
        pass

    layers = [keras.Input((TIME, FEATURES)), GateLSTM(UNITS, forget=Slow(UNITS), activation=lambda x: ops.sin(x))]
    model = randomise(keras.Sequential(layers))
    readable = convert(model, to=L.RNN)
    assert type(readable.layers[0].cell.forget) is Slow
    assert_close(numpy(readable(EVENTS)), numpy(model(EVENTS)), "as RNN")


def test_statistics_and_vocabularies_move_along():
    normalization = L.Normalization()
    normalization.adapt(3 + 2 * EVENTS)
    model = keras.Sequential([keras.Input((TIME, FEATURES)), normalization, L.LSTM(UNITS)])
    assert_close(numpy(from_keras(model)(EVENTS)), numpy(model(EVENTS)), "normalized")


def test_what_cannot_be_made_again_is_named():
    class Closed(L.Layer):
        def __init__(self, units, table):
            super().__init__()
            self.kernel = self.add_weight(shape=(FEATURES, units))

        def call(self, x):
            return x @ self.kernel

    model = keras.Sequential([keras.Input((TIME, FEATURES)), Closed(3, {1: object()}), L.LSTM(UNITS)])
    with pytest.raises(TypeError, match=r"closed\w* \(Closed\) cannot be made again: .* Give the class a get_config"):
        from_keras(model)


def test_a_stateless_layer_that_cannot_be_made_again_is_shared():
    class Shift(L.Layer):
        def __init__(self, function):
            super().__init__()
            self.shift = [function]

        def call(self, x):
            return self.shift[0](x)

    model = randomise(keras.Sequential([keras.Input((TIME, FEATURES)), Shift(ops.sin), L.LSTM(UNITS)]))
    assert_close(numpy(from_keras(model)(EVENTS)), numpy(model(EVENTS)), "shared")


def test_all_numbers_of_a_rebuilt_bidirectional_layer_with_masks():
    layers = [keras.Input((TIME, FEATURES)), L.Masking(), L.Bidirectional(L.LSTM(UNITS))]
    model = randomise(keras.Sequential(layers))
    for part in (model.layers[-1].forward_layer, model.layers[-1].backward_layer):
        part.cell.recurrent_activation = relu  # a config does not hold it
        part.cell.implementation = 1  # Keras leaves it out of the config from which Bidirectional makes its layers
    named = from_keras(model)
    both = named.layers[-1]
    assert both.forward_layer.implementation == both.backward_layer.implementation == 1
    assert both.forward_layer.recurrent_activation is both.backward_layer.recurrent_activation is relu
    events = EVENTS.copy()
    events[0, 2:] = 0
    assert_close(numpy(named(events)), numpy(model(events)), "masked")
