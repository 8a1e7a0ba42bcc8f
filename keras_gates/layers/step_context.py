"""What one time step has computed so far, and how a gate is passed the part of it that its `call` names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1024)  # a step of the general loop asks four times, in eager mode at every time step
def _parameters(function: Callable) -> tuple[tuple[str, bool], ...]:
    """Return the arguments that the method `function` names after `self`, each with whether it has a default."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return tuple(
        (p.name, p.default is not p.empty) for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )


class StepContext(dict):
    """Everything a time step has computed so far, by name: the event, STM, LTM, each gate's factors and result.

    Args:
        held: Dict, for ablation: name of a factor or result -> function of the value that the gate computed, which returns
            the value to use in its place.
        **known: what is known before the first gate: `event`, `stm`, `ltm`.

    Example:

    >>> event, memory = numpy.ones((1, 3), "float32"), numpy.zeros((1, 4), "float32")
    >>> cell = keras_gates.GateLSTMCell(4)
    >>> cell.build((None, 3))
    >>> context = StepContext(event=event, stm=memory, ltm=memory)
    >>> context["learned"] = context.run(cell.learn)
    >>> list(context)
    ['event', 'stm', 'ltm', 'ignore', 'candidate', 'learned']
    """

    def __init__(self, held: dict[str, Callable] | None = None, **known: Any) -> None:
        super().__init__(known)
        self.held = held or {}

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, self.held[name](value) if name in self.held else value)

    def arguments_of(self, method: Any, **overrides: Any) -> dict[str, Any]:
        """Return the entries that a gate's `method` names as its arguments.

        Args:
            method: a bound method of a gate, `call` or `factors`.
            **overrides: what this gate alone is passed instead of an entry (under dropout), or in addition.

        Returns:
            Dict of keyword arguments for `method`.

        Raises:
            TypeError: the method needs an argument that is not known at this point of the step.
        """
        parameters = _parameters(method.__func__)
        available = {**self, **overrides}
        missing = [name for name, optional in parameters if not optional and name not in available]
        if missing:
            raise TypeError(
                f"{type(method.__self__).__name__}.{method.__name__} asks for {', '.join(missing)}, but at this point of the "
                f"step a gate is offered {', '.join(sorted(self))}. Name one of these, or give the argument a default."
            )
        return {name: available[name] for name, _ in parameters if name in available}

    def run(self, gate: Any, **overrides: Any) -> Any:
        """Call a gate for this step, add its factors to the context and return its result.

        Args:
            gate: a Keras layer whose `call` names the entries it takes.
            **overrides: what this gate alone is passed instead of the event or STM (under dropout).

        Returns:
            The gate's result, `(batch, units)`.

        Raises:
            TypeError: the gate needs an argument that is not known at this point of the step.
        """
        if not hasattr(gate, "factors"):
            return gate(**self.arguments_of(gate.call, **overrides))
        factors = gate.factors(**self.arguments_of(gate.factors, **overrides))
        for name, value in factors.items():
            self[name] = value
        factors = {name: self[name] for name in factors}  # read back: `held` may have replaced them
        return gate(**self.arguments_of(gate.call, **overrides, factors=factors))
