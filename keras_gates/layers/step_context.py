"""What one step has computed so far, and how a gate is handed the part of it that its `call` names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1024)
def _named(function: Callable) -> tuple[tuple[str, bool], ...]:
    """The arguments the method `function` names after `self`, each with whether it has a default."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return tuple(
        (p.name, p.default is not p.empty) for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )


class Offer(dict):
    """Everything a step has computed so far, by name: the event, STM, LTM, each gate's factors and result.

    Args:
        held: factors or results to hold at a value whatever the gate says, by name (for ablation): name -> function of
            what the gate computed.
        **known: what is known before the first gate: `event`, `stm`, `ltm`.

    Example:

    >>> event, memory = numpy.ones((1, 3), "float32"), numpy.zeros((1, 4), "float32")
    >>> cell = keras_gates.GateLSTMCell(4)
    >>> cell.build((None, 3))
    >>> offer = Offer(event=event, stm=memory, ltm=memory)
    >>> offer["learned"] = offer.to(cell.learn)
    >>> list(offer)
    ['event', 'stm', 'ltm', 'ignore', 'candidate', 'learned']
    """

    def __init__(self, held: dict[str, Callable] | None = None, **known: Any) -> None:
        super().__init__(known)
        self.held = held or {}

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, self.held[name](value) if name in self.held else value)

    def named_by(self, method: Any, **seen: Any) -> dict[str, Any]:
        """The part of the offer that a gate's `method` names; `seen` goes before what all gates are offered.

        Raises:
            TypeError: the method needs an argument that is not offered at this point of the step.
        """
        names = _named(method.__func__)
        offered = {**self, **seen}
        missing = [name for name, optional in names if not optional and name not in offered]
        if missing:
            raise TypeError(
                f"{type(method.__self__).__name__}.{method.__name__} asks for {', '.join(missing)}, but at this point of the "
                f"step a gate is offered {', '.join(sorted(self))}. Name one of these, or give the argument a default."
            )
        return {name: offered[name] for name, _ in names if name in offered}

    def to(self, gate: Any, **seen: Any) -> Any:
        """The gate's result for this step; its factors join the offer.

        Args:
            gate: a Keras layer whose `call` names what it takes.
            **seen: what this gate alone sees in the place of the event or STM (dropout).
        """
        if not hasattr(gate, "factors"):
            return gate(**self.named_by(gate.call, **seen))
        factors = gate.factors(**self.named_by(gate.factors, **seen))
        for name, value in factors.items():
            self[name] = value
        factors = {name: self[name] for name in factors}
        return gate(**self.named_by(gate.call, **seen, factors=factors))
