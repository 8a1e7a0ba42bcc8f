"""The gates that the native kernel has: the plain ones, peephole gates and the coupled forget gate, in any combination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_gates.layers.gates import ForgetGate, LearnGate, RememberGate, UseGate
from keras_gates.layers.variants.coupled import CoupledForgetGate
from keras_gates.layers.variants.peephole import PeepholeForgetGate, PeepholeLearnGate, PeepholeUseGate
from keras_gates.loops import Weights

if TYPE_CHECKING:
    from keras_gates.layers.cell import GateLSTMCell

KNOWN = {
    "learn": (LearnGate, PeepholeLearnGate),
    "forget": (ForgetGate, PeepholeForgetGate, CoupledForgetGate),
    "remember": (RememberGate,),
    "use": (UseGate, PeepholeUseGate),
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


def joint_weights(cell: GateLSTMCell) -> tuple[Weights, Any, bool]:
    """Return the weights of a built cell that is plain, or that `kernel_has`, as tensors.

    Returns:
        The gates' weights side by side, with zeros for those a gate has not; the peephole weights `(3, units)`, or None; whether
        the forget gate is coupled.
    """
    if cell.is_plain:
        return cell.joint_weights(), None, False
    learn, forget, use, units = cell.learn, cell.forget, cell.use, cell.units
    coupled = isinstance(forget, CoupledForgetGate)

    def part(gate: Any, name: str, shape: tuple) -> Any:
        value = getattr(gate, name, None)
        return ops.zeros(shape, cell.compute_dtype) if value is None else ops.convert_to_tensor(value)

    def side_by_side(name: str, *rows: int) -> Any:
        both = part(learn, name, (*rows, 2 * units))
        others = [part(gate, name, (*rows, units)) for gate in (forget, use)]
        return ops.concatenate([both[..., :units], others[0], both[..., units:], others[1]], axis=-1)

    def has(name: str, *gates: Any) -> bool:
        return any(getattr(gate, name, None) is not None for gate in gates)

    article, biased = has("kept_kernel", use), has("bias", learn, forget, use)
    weights = Weights(
        kernel=side_by_side("kernel", learn.kernel.shape[0]),
        recurrent_kernel=side_by_side("recurrent_kernel", units),
        bias=side_by_side("bias") if biased else None,
        kept_kernel=ops.convert_to_tensor(use.kept_kernel) if article else None,
        kept_bias=part(use, "kept_bias", (units,)) if article and biased else None,
    )
    if not has("peephole", learn, forget, use):
        return weights, None, coupled
    peephole = ops.concatenate([part(gate, "peephole", (units,)) for gate in (learn, forget, use)])
    return weights, ops.reshape(peephole, (3, units)), coupled
