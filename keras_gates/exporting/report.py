"""What an export did and measured, for people and for programs; and the error it raises."""

from __future__ import annotations

import dataclasses
import html
import json
from dataclasses import dataclass, field
from typing import Any

from keras_gates._errors import GatesError


class ExportError(GatesError, RuntimeError):
    """The model cannot be exported as requested, or the file differs from the model. No file is written."""


@dataclass(frozen=True, repr=False)
class ExportReport:
    """What `export` did and measured.

    Attributes:
        name: name of the model.
        lowering: how the recurrent layers run: "fused", "step", "while", "unrolled", several joined by "+", or "plain"
            (the model has none).
        why: the reason for this lowering, in one line.
        layers: one dict per recurrent layer with the keys layer, lowering, why.
        precision, mode, target, batch, steps: as exported; `steps` in time steps per sequence or call.
        files: path of what was written, by kind: "saved_model", "tflite", "c".
        bytes: size of the .tflite file.
        metadata_bytes: bytes of the file that are metadata.
        parameters: number of weights of the Keras model.
        operators: operator name → count in the .tflite file.
        samples: number of held-out samples compared with Keras.
        max_difference, mean_difference: difference between file and Keras over those samples, of the output that uses most
            of what is allowed.
        tolerance: the largest `mean_difference` allowed. The maximum is reported, not judged.
        outputs: per output "mean", "high" (99th percentile) and "max" of the difference, the "spread" of Keras' values (mean
            distance from their mean), "tolerance" and "agreement".
        agreement: share of samples (time steps) with the same largest output; None if outputs have one column.
        quality: scores on the test set, by "keras …" and "file …"; None without a test set.
        latency_us: median microseconds per call on this machine, one thread.
        latency_by_lowering: the same for the lowerings of `also_time`.
        ram_bytes: size of all tensors that are not constants.
        arena_bytes: the arena to reserve in TFLM (target "micro"): the smallest, to within 64 bytes, in which its x86-64
            build runs the file.
        arena_used_bytes: what that build then reports as used; setting up takes more.
        resizable: whether LiteRT runs the file after its time axis is resized; this was tried.
        notes, warnings: sentences.
    """

    name: str
    lowering: str = "plain"
    why: str = ""
    layers: list[dict[str, str]] = field(default_factory=list)
    precision: str = "float32"
    mode: str = "sequence"
    target: str = "cpu"
    batch: int = 1
    steps: int | None = None
    files: dict[str, str] = field(default_factory=dict)
    bytes: int | None = None
    metadata_bytes: int | None = None
    parameters: int = 0
    operators: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    max_difference: float | None = None
    mean_difference: float | None = None
    tolerance: float | None = None
    outputs: dict[str, dict[str, float | None]] = field(default_factory=dict)
    agreement: float | None = None
    quality: dict[str, float] | None = None
    latency_us: float | None = None
    latency_by_lowering: dict[str, float] = field(default_factory=dict)
    ram_bytes: int | None = None
    arena_bytes: int | None = None
    arena_used_bytes: int | None = None
    resizable: bool = False
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def __repr__(self) -> str:
        size = "" if self.bytes is None else f", {self.bytes:,} bytes"
        return f"<ExportReport of {self.name}: {self.lowering}, {self.precision}, {self.mode}{size}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def __str__(self) -> str:
        rows = [("model", f"{self.name}, {self.parameters:,} parameters")]
        rows.append(("lowering", f"{self.lowering}: {self.why}" if self.why else self.lowering))
        rows += [("", f"{each['layer']}: {each['lowering']}, {each['why']}") for each in self.layers]
        steps = "" if self.steps is None else f", {self.steps} time steps"
        rows.append(("options", f"{self.precision}, {self.mode}, {self.target}, batch {self.batch}{steps}"))
        rows += [(f"file ({kind})", path) for kind, path in self.files.items()]
        if self.bytes is not None:
            rows.append(("size", f"{self.bytes:,} bytes, {self.metadata_bytes:,} of them metadata"))
            rows.append(("operators", ", ".join(f"{count} {name}" for name, count in self.operators.items())))
        if self.max_difference is not None:
            rows.append(
                (
                    "against Keras",
                    f"largest difference {self.max_difference:.2g}, mean {self.mean_difference:.2g} over {self.samples} "
                    f"samples (allowed is a mean of {self.tolerance:.2g})",
                )
            )
        if len(self.outputs) > 1:
            rows += [
                (
                    "",
                    f"{name}: largest {each['max']:.2g}, mean {each['mean']:.2g}, spread of the output {each['spread']:.2g}",
                )
                for name, each in self.outputs.items()
            ]
        if self.agreement is not None:
            rows.append(("same answer", f"{100 * self.agreement:.1f} %"))
        if self.quality:
            rows.append(("quality", ", ".join(f"{name} {value:.4g}" for name, value in self.quality.items())))
        if self.latency_us is not None:
            rows.append(("latency", f"{self.latency_us:.0f} µs per call (median, one thread, this machine)"))
        for lowering, latency in self.latency_by_lowering.items():
            rows.append(("", f"{lowering}: {latency:.0f} µs"))
        if self.ram_bytes is not None:
            rows.append(("memory", f"{self.ram_bytes:,} bytes of tensors"))
        if self.arena_bytes is not None:
            used = f", {self.arena_used_bytes:,} of them reported as used" if self.arena_used_bytes else ""
            rows.append(("arena", f"{self.arena_bytes:,} bytes to reserve{used} (TFLM, x86-64 build)"))
        rows += [("note", note) for note in self.notes] + [("warning", warning) for warning in self.warnings]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:>{width}}  {value}" for name, value in rows)
