"""GateLSTMCell: one step by name, its places in Keras' wrappers, and gates of one's own."""

import keras
import numpy as np
import pytest
from helpers import (
    BACKEND,
    BATCH,
    EVENTS,
    FEATURES,
    MASKS,
    TIME,
    UNITS,
    assert_close,
    data,
    numpy,
    randomise,
    tensors,
)
from keras import ops
from reference import plain_step, run, weights_of

import keras_gates
from keras_gates import Gate, GateLSTM, GateLSTMCell

EVENT, STM, LTM = data(BATCH, FEATURES), data(BATCH, UNITS, seed=1), data(BATCH, UNITS, seed=2)
FORMULATIONS = ["standard", "article"]


def built(**arguments):
    cell = GateLSTMCell(UNITS, **arguments)
    cell.build((BATCH, FEATURES))
    return randomise(cell)


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_step_names_everything_it_computed(formulation, use_bias):
    cell = built(formulation=formulation, use_bias=use_bias)
    step, wanted = cell.step(*tensors([EVENT, STM, LTM])), plain_step(EVENT, STM, LTM, weights_of(cell))
    assert set(step) == set(wanted)
    for name, value in wanted.items():
        assert_close(numpy(step[name]), value, name)
    used, (stm, ltm) = cell(*tensors([EVENT, [STM, LTM]]))
    assert_close(numpy([used, stm, ltm]), [wanted["used"], wanted["used"], wanted["remembered"]], "call")


def test_step_holds_factors_where_asked():
    cell = built()
    step = cell.step(*tensors([EVENT, STM, LTM]), held={"forget": ops.ones_like, "ignore": ops.zeros_like})
    assert_close(numpy(step["remembered"]), LTM, "nothing forgotten, nothing learned", absolute=0)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_dropout_masks_are_applied_where_keras_applies_them(formulation):
    cell = built(dropout=0.5, recurrent_dropout=0.4, seed=1, formulation=formulation)
    event, stm, ltm = tensors([EVENT, STM, LTM])
    event_masks, stm_masks = numpy(cell.get_dropout_mask(event)), numpy(cell.get_recurrent_dropout_mask(stm))
    assert len(event_masks) == len(stm_masks) == 4
    assert {0.0, 2.0} == set(np.unique(event_masks))
    wanted = plain_step(EVENT, STM, LTM, weights_of(cell), event_masks, stm_masks)
    assert_close(numpy(cell(event, [stm, ltm], training=True)[1][1]), wanted["remembered"], "LTM in training")
    assert_close(numpy(cell(event, [stm, ltm], training=True)[0]), wanted["used"], "STM in training")
    plain = plain_step(EVENT, STM, LTM, weights_of(cell))
    assert_close(numpy(cell(event, [stm, ltm])[0]), plain["used"], "STM without training")


def test_sizes_and_initial_state():
    cell = GateLSTMCell(UNITS)
    assert (cell.state_size, cell.output_size) == ([UNITS, UNITS], UNITS)
    state = numpy(cell.get_initial_state(batch_size=2))
    assert [s.shape for s in state] == [(2, UNITS)] * 2
    assert not np.any(state)


def test_joint_weights_are_those_of_the_gates():
    cell = built(formulation="article")
    for name, value in cell.joint_weights()._asdict().items():
        np.testing.assert_array_equal(numpy(value), weights_of(cell)[name].astype("float32"), name)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_stacked_cells(formulation):
    cells = [GateLSTMCell(UNITS, formulation=formulation), GateLSTMCell(2, formulation=formulation)]
    layer = keras.layers.RNN(cells, return_sequences=True)
    layer.build((None, None, FEATURES))
    randomise(layer)
    hidden, _, _ = run(EVENTS, weights_of(cells[0]))
    wanted, _, _ = run(hidden, weights_of(cells[1]))
    assert_close(numpy(layer(EVENTS)), wanted, "two cells")


@pytest.mark.parametrize("cls", [GateLSTM, lambda *a, **k: keras.layers.RNN(GateLSTMCell(*a), **k)])
def test_bidirectional(cls):
    layer = keras.layers.Bidirectional(cls(UNITS, return_sequences=True))
    mask = MASKS["right"]
    layer.build((None, None, FEATURES))
    randomise(layer)
    forward, _, _ = run(EVENTS, weights_of(layer.forward_layer), mask=mask, zero_output_for_mask=True)
    backward, _, _ = run(
        EVENTS, weights_of(layer.backward_layer), mask=mask, zero_output_for_mask=True, go_backwards=True
    )
    wanted = np.concatenate([forward, backward[:, ::-1]], axis=-1)
    assert_close(numpy(layer(EVENTS, mask=tensors(mask))), wanted, "both directions, masked")


# Gates of one's own.


@keras.saving.register_keras_serializable("tests")
class DeepForgetGate(Gate):
    """Holds an unbuilt Dense, a Dropout and a BatchNormalization, and names its factor."""

    def __init__(self, units, rate=0.3, **kwargs):
        super().__init__(units, **kwargs)
        self.rate = rate
        self.dense = keras.layers.Dense(units)
        self.dropout = keras.layers.Dropout(rate, seed=2)
        self.norm = keras.layers.BatchNormalization()

    def factors(self, event, stm):
        return {"forget": ops.sigmoid(self.norm(self.dropout(self.dense(event))) + stm)}

    def call(self, event, stm, ltm, factors=None):
        factors = self.factors(event, stm) if factors is None else factors
        return ltm * factors["forget"]

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("tests")
class DenseUseGate(Gate):
    """Holds an unbuilt Dense; no factors."""

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.dense = keras.layers.Dense(units, activation="sigmoid")

    def call(self, event, stm, remembered):
        return self.dense(ops.concatenate([event, stm], axis=-1)) * ops.tanh(remembered)


@keras.saving.register_keras_serializable("tests")
class BareLearnGate(keras.layers.Layer):
    """A gate that is any Keras layer, with a build of its own and an unbuilt Dense."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.size = units
        self.dense = keras.layers.Dense(units)

    def build(self, event_shape, stm_shape):
        self.gain = self.add_weight(shape=(stm_shape[-1],), initializer="ones", name="gain")

    def call(self, event, stm):
        return ops.tanh(self.dense(event) + self.gain * stm)

    def get_config(self):
        return {**super().get_config(), "units": self.size}


@keras.saving.register_keras_serializable("tests")
class ZoneoutGate(Gate):
    """A remember gate that sees the old LTM: half of each memory stays as it was."""

    def call(self, ltm, kept, learned):
        return 0.5 * ltm + 0.5 * (kept + learned)


def readable(**gates):
    return keras.layers.RNN(GateLSTMCell(UNITS, **gates))


LAYERS = [lambda **gates: GateLSTM(UNITS, **gates), readable]


def fitted(layer, x, y):
    model = keras.Sequential([keras.Input((TIME, FEATURES)), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = [numpy(v) for v in model.trainable_variables]
    model.fit(x, y, epochs=2, batch_size=4, verbose=0)
    moved = [np.abs(numpy(v) - b).max() > 0 for v, b in zip(model.trainable_variables, before)]
    assert all(moved), [v.path for v, m in zip(model.trainable_variables, moved) if not m]
    return model


@pytest.mark.parametrize("make", LAYERS)
def test_a_gate_with_an_unbuilt_dense_trains_saves_and_loads(make, tmp_path):
    x, y = data(8, TIME, FEATURES), data(8, 1)
    gates = {"learn": BareLearnGate(UNITS), "use": DenseUseGate(UNITS), "remember": ZoneoutGate(UNITS)}
    model = fitted(make(**gates), x, y)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert_close(loaded.predict(x, verbose=0), model.predict(x, verbose=0), "loaded", absolute=1e-6)
    assert type(loaded.layers[0].cell.remember) is ZoneoutGate
    loaded.fit(x, y, verbose=0)


@pytest.mark.parametrize("make", LAYERS)
def test_a_gate_with_dropout_and_batch_normalization_trains_saves_and_loads(make, tmp_path):
    x, y = data(8, TIME, FEATURES), data(8, 1)
    layer = make(forget=DeepForgetGate(UNITS))
    layer.unroll = (
        BACKEND == "jax"
    )  # JAX: variables that change inside lax.scan (moving averages, seeds) do not come out
    model = fitted(layer, x, y)
    averages = [numpy(v) for v in model.non_trainable_variables if "moving" in v.path]
    assert np.abs(averages[0]).max() > 0, "the moving average moved"
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert_close(loaded.predict(x, verbose=0), model.predict(x, verbose=0), "loaded", absolute=1e-6)
    assert loaded.layers[0].cell.forget.rate == 0.3
    loaded.fit(x, y, verbose=0)


@pytest.mark.parametrize("make", LAYERS)
def test_a_gate_sees_what_its_call_names(make):
    layer = make(remember=ZoneoutGate(UNITS))
    layer.build((None, None, FEATURES))
    randomise(layer)

    def zoneout(event, stm, ltm, w):
        step = plain_step(event, stm, ltm, w)
        remembered = 0.5 * ltm + 0.5 * step["remembered"]
        return {"remembered": remembered, "used": np.tanh(remembered) * step["use"]}

    _, wanted, _ = run(EVENTS, weights_of(layer), step=zoneout)
    assert_close(numpy(layer(EVENTS)), wanted, "zoneout")


def test_own_gates_are_named_in_paths_and_summary(capsys):
    model = keras.Sequential([keras.Input((TIME, FEATURES)), GateLSTM(UNITS, use=DenseUseGate(UNITS, name="looks"))])
    paths = [v.path.split("/", 2)[-1] for v in model.weights]
    assert paths[:2] == ["cell/learn/kernel", "cell/learn/recurrent_kernel"]
    assert "cell/looks/dense" in "".join(paths)
    model.summary(expand_nested=True)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("learn", "forget", "remember", "looks"))


def test_is_plain_only_with_plain_gates():
    assert GateLSTMCell(UNITS).is_plain
    assert not GateLSTMCell(UNITS, forget=keras_gates.ForgetGate(UNITS)).is_plain
    plain = GateLSTM(UNITS)
    own = GateLSTM(UNITS, forget=keras_gates.ForgetGate(UNITS))
    for layer in (plain, own):
        layer.build((None, None, FEATURES))
        randomise(layer)
    assert_close(numpy(own(EVENTS)), numpy(plain(EVENTS)), "a plain gate passed in")
