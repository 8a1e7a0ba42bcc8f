"""The LSTM written out in NumPy: the oracle that shares no line with the package.

Every function takes the weights of one layer as a dict of joint matrices whose columns are ignore | forget | candidate |
use (`weights_of` reads them from a layer), and computes in float64.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
}


def plain_step(event, stm, ltm, w, event_masks=None, stm_masks=None, activation=np.tanh, recurrent_activation=sigmoid):
    """Both formulations: the article's where `w` holds `kept_kernel`. Masks: one array for each of the four columns."""
    u = stm.shape[-1]
    z = []
    for k in range(4):
        columns = slice(k * u, (k + 1) * u)
        seen = event if event_masks is None else event * event_masks[k]
        remembered = stm if stm_masks is None else stm * stm_masks[k]
        z.append(seen @ w["kernel"][:, columns] + remembered @ w["recurrent_kernel"][:, columns])
        if w.get("bias") is not None:
            z[-1] = z[-1] + w["bias"][columns]
    ignore, forget, use = (recurrent_activation(z[k]) for k in (0, 1, 3))
    candidate = activation(z[2])
    learned = candidate * ignore
    kept = ltm * forget
    remembered = kept + learned
    if w.get("kept_kernel") is None:
        u_source = remembered
    else:
        u_source = kept @ w["kept_kernel"]
        if w.get("kept_bias") is not None:
            u_source = u_source + w["kept_bias"]
    U = activation(u_source)
    return {
        "event": event,
        "stm": stm,
        "ltm": ltm,
        "ignore": ignore,
        "candidate": candidate,
        "learned": learned,
        "forget": forget,
        "kept": kept,
        "remembered": remembered,
        "use": use,
        "U": U,
        "used": U * use,
    }


def peephole_step(event, stm, ltm, w):
    """Gers and Schmidhuber 2000: ignore and forget see LTM_{t-1}, use sees LTM_t."""
    zi, zf, zc, zo = np.split(event @ w["kernel"] + stm @ w["recurrent_kernel"] + w["bias"], 4, axis=-1)
    kept = ltm * sigmoid(zf + w["peephole_forget"] * ltm)
    remembered = kept + np.tanh(zc) * sigmoid(zi + w["peephole_ignore"] * ltm)
    use = sigmoid(zo + w["peephole_use"] * remembered)
    source = remembered if w.get("kept_kernel") is None else kept @ w["kept_kernel"] + w["kept_bias"]
    return {"used": np.tanh(source) * use, "remembered": remembered}


def coupled_step(event, stm, ltm, w):
    """Greff et al. 2015 (CIFG): f = 1 - i. The joint matrices hold three blocks: ignore | candidate | use."""
    zi, zc, zo = np.split(event @ w["kernel"] + stm @ w["recurrent_kernel"] + w["bias"], 3, axis=-1)
    ignore = sigmoid(zi)
    kept = (1 - ignore) * ltm
    remembered = kept + ignore * np.tanh(zc)
    source = remembered if w.get("kept_kernel") is None else kept @ w["kept_kernel"] + w["kept_bias"]
    return {"used": np.tanh(source) * sigmoid(zo), "remembered": remembered}


def layer_norm(x, epsilon):
    mean = x.mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + epsilon)


def layer_norm_step(event, stm, ltm, w, epsilon=1e-3):
    """Ba et al. 2016, every factor normalised by itself: gains `event_gain`, `stm_gain` are joint vectors."""
    u = stm.shape[-1]
    z = []
    for k in range(4):
        columns = slice(k * u, (k + 1) * u)
        of_event = layer_norm(event @ w["kernel"][:, columns], epsilon) * w["event_gain"][columns]
        of_stm = layer_norm(stm @ w["recurrent_kernel"][:, columns], epsilon) * w["stm_gain"][columns]
        z.append(of_event + of_stm + w["bias"][columns])
    kept = ltm * sigmoid(z[1])
    remembered = kept + np.tanh(z[2]) * sigmoid(z[0])
    source = remembered if w.get("kept_kernel") is None else kept @ w["kept_kernel"] + w["kept_bias"]
    U = np.tanh(layer_norm(source, epsilon) * w["memory_gain"] + w["memory_bias"])
    return {"used": U * sigmoid(z[3]), "remembered": remembered}


def run(
    x,
    w,
    step=plain_step,
    mask=None,
    initial_state=None,
    go_backwards=False,
    zero_output_for_mask=False,
    units=None,
    starts_from_stm=False,
    **options,
):
    """The sequence: `(every STM (batch, time, units), last STM, last LTM)`.

    A masked event leaves both memories as they are; the output there is the one before it, or zeros with
    `zero_output_for_mask`. Before the first output stand zeros, or, where Keras' loop on JAX has it so, the initial STM
    (`starts_from_stm`). `go_backwards` reads from the last event to the first and returns in that order.
    """
    x = np.asarray(x, "float64")
    batch, time, _ = x.shape
    units = units or w["recurrent_kernel"].shape[0]
    stm, ltm = (
        (np.zeros((batch, units)),) * 2 if initial_state is None else (np.asarray(s, "float64") for s in initial_state)
    )
    output = stm if starts_from_stm else np.zeros((batch, units))
    outputs = []
    for t in reversed(range(time)) if go_backwards else range(time):
        new = step(x[:, t], stm, ltm, w, **options)
        seen = np.ones((batch, 1), bool) if mask is None else np.asarray(mask, bool)[:, t : t + 1]
        output = np.where(seen, new["used"], 0.0 if zero_output_for_mask else output)
        stm, ltm = np.where(seen, new["used"], stm), np.where(seen, new["remembered"], ltm)
        outputs.append(output)
    return np.stack(outputs, axis=1), stm, ltm


def weights_of(layer):
    """The joint weights of a `GateLSTM`, an `RNN(GateLSTMCell)`, a cell or a `keras.layers.LSTM`, as float64 arrays."""

    def array(variable):
        import keras

        return None if variable is None else np.asarray(keras.ops.convert_to_numpy(variable), "float64")

    cell = getattr(layer, "cell", layer)
    if hasattr(cell, "kernel"):
        return {
            "kernel": array(cell.kernel),
            "recurrent_kernel": array(cell.recurrent_kernel),
            "bias": array(cell.bias),
        }
    u = cell.units

    def joint(name):
        learn, forget, use = (array(getattr(gate, name, None)) for gate in (cell.learn, cell.forget, cell.use))
        if learn is None:
            return None
        blocks = [learn[..., :u], forget, learn[..., u:], use]
        return np.concatenate([block for block in blocks if block is not None], axis=-1)

    names = ("kernel", "recurrent_kernel", "bias")
    weights = {name: joint(name) for name in names}
    weights |= {name: array(getattr(cell.use, name, None)) for name in ("kept_kernel", "kept_bias")}
    return weights
