"""Zoneout: in training, some units keep their old memory for a step; afterwards, all keep a part of it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_gates._arguments import real
from keras_gates.layers.gates import RememberGate, UseGate


class _Zoneout(keras.layers.Layer):
    """What both gates share: `rate`, `seed`, and how an old and a new memory are mixed."""

    def __init__(self, units: int, *args: Any, rate: float = 0.1, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(units, *args, **kwargs)
        if not 0 <= real(rate, "rate", type(self).__name__) < 1:
            raise ValueError(f"{type(self).__name__}: `rate` must be from 0 to below 1, got {rate!r}.")
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def mixed(self, old: Any, new: Any, training: bool | None) -> Any:
        """Compute the memory after zoneout.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        if not training:
            return self.rate * old + (1 - self.rate) * new
        drawn = keras.random.uniform(ops.shape(new), dtype=new.dtype, seed=self.seed_generator)
        return ops.where(drawn < self.rate, old, new)

    def zones(self, events: Any, training: bool) -> Any:
        """Return the share of the old memory in the new one, at all steps: what `mixed` would draw at one after the other.

        Args:
            events: Tensor `(batch, time, features)`.
            training: Boolean, whether to draw.

        Returns:
            In training a tensor `(time, batch, units)` of ones and zeros, otherwise `rate`, shape `(1,)`.
        """
        if not training:
            return ops.full((1,), self.rate, dtype=self.compute_dtype)
        batch, time = ops.shape(events)[:2]
        # Keras' loop computes the first step once in advance, for its shapes, and a draw is lost; on JAX it is unrolled.
        lost = 0 if keras.backend.backend() == "jax" else 1
        first = self.seed_generator.state.value * 1
        counts = ops.stack([ops.zeros_like(ops.arange(time)), ops.arange(time) + lost], axis=1)
        seeds = ops.add(first, ops.cast(counts, first.dtype))
        steps = ops.stack([0, time + lost])
        self.seed_generator.state.assign(ops.add(first, ops.cast(steps, first.dtype)))

        def draw(seed: Any) -> Any:
            return keras.random.uniform((batch, self.units), dtype=self.compute_dtype, seed=_Seed(seed))

        drawn = ops.map(draw, seeds)
        return ops.cast(drawn < self.rate, self.compute_dtype)

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


class _Seed(keras.random.SeedGenerator):
    """A seed that is known already, where Keras takes a generator."""

    def __init__(self, seed: Any) -> None:
        self.known = seed  # and no state: it draws once

    def next(self, ordered: bool = True) -> Any:
        return self.known


@keras.saving.register_keras_serializable("keras_gates")
class ZoneoutRememberGate(_Zoneout, RememberGate):
    """A remember gate with zoneout of the long-term memory.

        training:   LTM_t = z * LTM_{t-1} + (1 - z) * (kept + learned)
                    z drawn for every unit and time step, 1 with probability `rate`, else 0
        otherwise:  the same with z = rate

    No weights. With JAX and without the native kernel, a layer that holds this gate is unrolled, because JAX allows no change of
    state (of the random generator) inside a loop.

    Args:
        units: Positive integer.
        rate: Float from 0 to below 1, the probability that a unit keeps its old memory (default 0.1).
        seed: Integer, the random seed.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments: `ltm`, `kept`, `learned`, each `(batch, units)`; `training`.

    Raises:
        ValueError: `rate` is outside of [0, 1).

    Source: Krueger et al., Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations, 2016.

    Example:

    >>> layer = keras_gates.GateLSTM(4, remember=keras_gates.ZoneoutRememberGate(4, rate=0.5))
    """

    def call(self, ltm: Any, kept: Any, learned: Any, training: bool | None = None) -> Any:
        """Compute LTM_t.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        return self.mixed(ltm, kept + learned, training)


@keras.saving.register_keras_serializable("keras_gates")
class ZoneoutUseGate(_Zoneout, UseGate):
    """A use gate with zoneout of the short-term memory.

        training:   STM_t = z * STM_{t-1} + (1 - z) * U_t * V_t
                    z drawn for every unit and time step, 1 with probability `rate`, else 0
        otherwise:  the same with z = rate

    Weights: those of `UseGate`. With JAX and without the native kernel, a layer that holds this gate is unrolled.

    Args: those of `UseGate`, then `rate` and `seed`, keyword-only, as for `ZoneoutRememberGate`.

    Call arguments: those of `UseGate`; `training`.

    Raises:
        ValueError: `rate` is outside of [0, 1).

    Source: Krueger et al., Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations, 2016.

    Example:

    >>> layer = keras_gates.GateLSTM(4, use=keras_gates.ZoneoutUseGate(4, rate=0.05))
    """

    def call(
        self,
        event: Any,
        stm: Any,
        kept: Any,
        remembered: Any,
        factors: dict | None = None,
        training: bool | None = None,
    ) -> Any:
        """Compute STM_t.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        return self.mixed(stm, super().call(event, stm, kept, remembered, factors), training)
