"""To and from torch.nn.LSTM, under every Keras backend: same numbers, both ways."""

import keras
import numpy as np
import pytest
from helpers import BATCH, FEATURES, TIME, UNITS, assert_close, data, numpy, randomise

import keras_gates
from keras_gates import GateLSTM, from_torch, to_torch

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

EVENTS = data(BATCH, TIME, FEATURES)


def module(**options):
    torch.manual_seed(1)
    made = torch.nn.LSTM(FEATURES, UNITS, batch_first=True, **options).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.uniform_(-0.6, 0.6)
    return made


def theirs(made, x=EVENTS):
    with torch.no_grad():
        parameter = next(made.parameters())
        return made(torch.as_tensor(x).to(parameter.device, parameter.dtype))[0].cpu().numpy()


OPTIONS = [
    {},
    {"bias": False},
    {"bidirectional": True},
    {"num_layers": 3},
    {"num_layers": 2, "bidirectional": True, "dropout": 0.3},
    {"num_layers": 2, "bias": False, "dropout": 0.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_there_and_back(options):
    made = module(**options)
    ours = from_torch(made)
    wanted = theirs(made)
    assert_close(numpy(ours(EVENTS)), wanted, "from torch")
    back = to_torch(ours)
    assert_close(theirs(back.eval()), wanted, "and back")
    assert (back.num_layers, back.bidirectional, back.bias, back.dropout) == (
        made.num_layers,
        made.bidirectional,
        made.bias,
        made.dropout,
    )
    for name, parameter in back.named_parameters():
        if "bias_hh" in name:
            assert not parameter.any()
        elif "weight" in name:
            assert torch.equal(parameter.cpu(), dict(made.named_parameters())[name]), name


def test_last_only():
    made = module(num_layers=2)
    assert_close(numpy(from_torch(made, return_sequences=False)(EVENTS)), theirs(made)[:, -1], "last STM")
    both = module(bidirectional=True)
    wanted = np.concatenate([theirs(both)[:, -1, :UNITS], theirs(both)[:, 0, UNITS:]], axis=-1)
    assert_close(numpy(from_torch(both, return_sequences=False)(EVENTS)), wanted, "last STM of each direction")


def test_float64_stays_float64():
    made = module().double()
    layer = from_torch(made)
    assert layer.compute_dtype == "float64"
    assert to_torch(layer).weight_ih_l0.dtype == torch.float64
    np.testing.assert_array_equal(
        to_torch(layer).weight_ih_l0.detach().cpu().numpy(), made.weight_ih_l0.detach().numpy()
    )


def test_time_first_modules_answer_batch_first_here():
    made = torch.nn.LSTM(FEATURES, UNITS).eval()
    with torch.no_grad():
        wanted = made(torch.from_numpy(EVENTS.swapaxes(0, 1).copy()))[0].numpy().swapaxes(0, 1)
    assert_close(numpy(from_torch(made)(EVENTS)), wanted, "batch first")


def test_a_model_trained_here_runs_there():
    model = keras.Sequential(
        [keras.Input((None, FEATURES)), GateLSTM(UNITS, return_sequences=True), GateLSTM(UNITS, return_sequences=True)]
    )
    randomise(model)
    assert_close(theirs(to_torch(model).eval()), numpy(model(EVENTS)), "to torch")


def built(layer):
    layer.build((None, TIME, FEATURES))
    return layer


def test_refusals_say_why():
    with pytest.raises(TypeError, match=r"expected a torch.nn.LSTM, got GRU"):
        from_torch(torch.nn.GRU(FEATURES, UNITS))
    with pytest.raises(ValueError, match="proj_size=2"):
        from_torch(torch.nn.LSTM(FEATURES, UNITS, proj_size=2))
    with pytest.raises(ValueError, match="article"):
        to_torch(built(GateLSTM(UNITS, formulation="article")))
    with pytest.raises(ValueError, match="custom gate"):
        to_torch(built(GateLSTM(UNITS, forget=keras_gates.CoupledForgetGate(UNITS))))
    with pytest.raises(ValueError, match="tanh and sigmoid"):
        to_torch(built(GateLSTM(UNITS, activation="relu")))
    with pytest.raises(ValueError, match="no weights yet"):
        to_torch(GateLSTM(UNITS))
    with pytest.raises(ValueError, match="no place for"):
        to_torch(keras.Sequential([keras.Input((TIME, FEATURES)), GateLSTM(UNITS), keras.layers.Dense(2)]))
    unequal = [GateLSTM(UNITS, return_sequences=True), GateLSTM(UNITS + 1, return_sequences=True)]
    with pytest.raises(ValueError, match="same units"):
        to_torch(keras.Sequential([keras.Input((TIME, FEATURES)), *unequal]))


def test_what_torch_would_run_differently_is_refused():
    with pytest.raises(ValueError, match="go_backwards"):
        to_torch(built(GateLSTM(UNITS, go_backwards=True)))
    hidden = [GateLSTM(UNITS, return_sequences=True), GateLSTM(UNITS, return_sequences=True, use_bias=False)]
    with pytest.raises(ValueError, match="bias"):
        to_torch(keras.Sequential([keras.Input((TIME, FEATURES)), *hidden]))
    rates = [keras.layers.Dropout(0.1), GateLSTM(UNITS, return_sequences=True), keras.layers.Dropout(0.4)]
    first, last = GateLSTM(UNITS, return_sequences=True), GateLSTM(UNITS, return_sequences=True)
    with pytest.raises(ValueError, match="ropout"):
        to_torch(keras.Sequential([keras.Input((TIME, FEATURES)), first, *rates, last]))
    with pytest.raises(ValueError, match="no GateLSTM"):
        to_torch(keras.Sequential([keras.Input((TIME, FEATURES)), keras.layers.Dropout(0.1)]))
