"""The gates that the native kernel has, and what it takes of them, in any combination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_gates.layers.gates import ForgetGate, LearnGate, RememberGate, UseGate
from keras_gates.layers.variants.coupled import CoupledForgetGate
from keras_gates.layers.variants.layer_norm import LayerNormForgetGate, LayerNormLearnGate, LayerNormUseGate
from keras_gates.layers.variants.peephole import PeepholeForgetGate, PeepholeLearnGate, PeepholeUseGate
from keras_gates.layers.variants.projection import ProjectionUseGate
from keras_gates.layers.variants.zoneout import ZoneoutRememberGate, ZoneoutUseGate

if TYPE_CHECKING:
    from keras_gates.layers.cell import GateLSTMCell

KNOWN = {
    "learn": (LearnGate, PeepholeLearnGate, LayerNormLearnGate),
    "forget": (ForgetGate, PeepholeForgetGate, CoupledForgetGate, LayerNormForgetGate),
    "remember": (RememberGate, ZoneoutRememberGate),
    "use": (UseGate, PeepholeUseGate, LayerNormUseGate, ZoneoutUseGate, ProjectionUseGate),
}
WEIGHTED = ("learn", "forget", "use")
OF_EACH = ("kernel", "recurrent_kernel", "bias", "peephole", "event_gain", "stm_gain")
OF_USE = {
    **{name: name for name in ("kept_kernel", "kept_bias", "memory_gain", "memory_bias")},
    "projection": "projection_kernel",
}


def kernel_has(cell: GateLSTMCell) -> bool:
    """Return whether the native kernel has all gates of the cell.

    A subclass may compute anything, so only these very classes count; and each has its own activations, which the kernel has
    only as tanh and sigmoid.
    """
    gates = {name: getattr(cell, name) for name in KNOWN}
    return all(type(gate) in KNOWN[name] for name, gate in gates.items()) and all(
        gate.activation is keras.activations.tanh and gate.recurrent_activation is keras.activations.sigmoid
        for gate in gates.values()
        if hasattr(gate, "kernel_initializer")  # it has weights, so it has factors
    )


def kernel_arrays(cell: GateLSTMCell, events: Any, training: bool) -> tuple[dict[str, Any], bool]:
    """Return what the kernel needs of a built cell that is plain, or that `kernel_has`.

    Args:
        cell: the cell.
        events: Tensor `(batch, time, features)` that the kernel is to run over.
        training: Boolean, whether zoneout draws.

    Returns:
        Tensors by the names of `keras_gates.native.structures.ARRAYS`; whether the zones among them were drawn for every step.
    """
    gates = {name: getattr(cell, name) for name in WEIGHTED}
    # A missing attribute of a PyTorch module is an exception with a text, which takes longer than all weights together.
    of_gates = [(name, vars(gate)) for name, gate in gates.items()]
    weights = {f"{gate}_{name}": own[name] for gate, own in of_gates for name in OF_EACH if name in own}
    use = of_gates[-1][1]
    weights |= {name: use[of_gate] for name, of_gate in OF_USE.items() if of_gate in use}
    arrays = {name: _tensor(weight) for name, weight in weights.items() if weight is not None}
    if any("epsilon" in own for _, own in of_gates):
        epsilons = [own.get("epsilon", 0.0) for _, own in of_gates]
        arrays["epsilons"] = ops.convert_to_tensor(epsilons, dtype=cell.compute_dtype)
    for name, gate in (("ltm_zones", cell.remember), ("stm_zones", cell.use)):
        if hasattr(type(gate), "zones"):
            arrays[name] = gate.zones(events, training)
    return arrays, training and any(name in arrays for name in ("ltm_zones", "stm_zones"))


def _tensor(weight: Any) -> Any:
    # On PyTorch, where every call is eager, the value itself: the conversion looks for symbolic tensors and devices.
    direct = keras.backend.backend() == "torch" and isinstance(weight, keras.Variable)
    return weight.value if direct else ops.convert_to_tensor(weight)
