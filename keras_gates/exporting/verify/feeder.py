"""Samples as a file takes them: by input name, with lengths and the file's batch, or event by event."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_gates.exporting.lowering.signatures import LoweredSignature, zero_memories
from keras_gates.exporting.model_inputs import Inputs, Sample
from keras_gates.exporting.verify.calibration import valid_steps

Feed = dict[str, np.ndarray]


class Feeder:
    """Samples for one signature.

    Args:
        inputs: the model's inputs.
        signature: the file's function.
        batch: sequences per call.
    """

    def __init__(self, inputs: Inputs, signature: LoweredSignature, batch: int) -> None:
        self.inputs, self.signature, self.batch = inputs, signature, batch
        self.timed = [port.name for port in inputs.ports if port.time]

    @property
    def padding(self) -> float | None:
        """The value that is padding; None if the results do not depend on padding."""
        return next(iter(self.signature.padded.values()), None)

    def events(self, sample: Sample) -> Feed:
        """Return one sample by name, with a batch axis of 1: what `EdgeModel.predict` takes."""
        return {port.name: x for port, x in zip(self.inputs.ports, sample)}

    def feed(self, sample: Sample) -> Feed:
        """Return one sample by name with its lengths, repeated for the file's batch: what an interpreter takes."""
        feed = self.events(sample)
        for name, of in self.signature.counts.items():
            feed[name] = np.array([valid_steps(feed[of], self.signature.padded[of]).sum()], np.int32)
        return {name: np.repeat(x, self.batch, axis=0) for name, x in feed.items()}

    def calls(self, samples: list[Sample]) -> list[Feed]:
        """Return one dict per call, sequences one after the other; the traced function computes explicit memories."""
        events = self.signature.events
        if events is None:
            return [self.feed(sample) for sample in samples]
        calls = []
        for sample in samples:
            feed = self.feed(sample)
            memory = zero_memories(self.signature)
            for start in range(0, feed[self.timed[0]].shape[1] - events + 1, events):
                part = {n: x[:, start : start + events] if n in self.timed else x for n, x in feed.items()} | memory
                calls.append(part)
                if memory:
                    after = self.signature.function(**{name: tf.constant(x) for name, x in part.items()})
                    memory = {state["input"]: after[state["output"]].numpy() for state in self.signature.states}
        return calls
