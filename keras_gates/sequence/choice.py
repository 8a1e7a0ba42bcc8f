"""Which loop runs a sequence: asked once per call with what is statically known, answered with a name and a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras_gates.sequence import portable

LOOPS = ("auto", "general", "portable")


@dataclass(frozen=True)
class Problem:
    """What a choice may depend on; sizes are None where they are not known statically."""

    backend: str
    formulation: str
    batch: int | None
    time: int | None
    features: int
    units: int
    dtype: str
    activation: str
    recurrent_activation: str
    use_bias: bool = True
    masked: bool = False
    training: bool = False
    own_gates: bool = False
    masks_per_gate: bool = False
    unroll: bool = False
    return_sequences: bool = False
    use_cudnn: bool | str = "auto"
    loop: str = "auto"


@dataclass(frozen=True)
class Choice:
    """The loop that runs, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def choose(problem: Problem) -> Choice:
    """The loop for `problem`.

    Raises:
        ValueError: the loop asked for by name cannot run this problem.
    """
    if problem.own_gates:
        needs_cell = "the cell holds gates of its own"
    elif problem.masks_per_gate:
        needs_cell = "every gate has a dropout mask of its own (recurrent_dropout, or implementation=1)"
    else:
        needs_cell = None
    if needs_cell or problem.loop == "general":
        if problem.loop not in ("auto", "general"):
            raise ValueError(f"loop={problem.loop!r} cannot run here: {needs_cell}. Use loop='auto' or loop='general'.")
        return Choice("general", needs_cell or "asked for")
    return Choice("portable", "asked for" if problem.loop == "portable" else "runs everywhere")


def run(name: str, events: Any, stm: Any, ltm: Any, weights: Any, **options: Any) -> tuple[Any, Any, list[Any]]:
    """Run the loop `name`; see `keras_gates.sequence.portable.run` for arguments and result."""
    return {"portable": portable.run}[name](events, stm, ltm, weights, **options)
