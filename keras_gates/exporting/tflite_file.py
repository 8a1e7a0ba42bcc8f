"""One .tflite file: choose forms, convert, tidy, describe, check, compare with Keras."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_gates.edge import tflite
from keras_gates.exporting import children, flatbuffer, forms, graph, litert, operators, samples, verify
from keras_gates.exporting.metadata import NAME, metadata_text
from keras_gates.exporting.ports import DEFAULT_STEPS, Inputs
from keras_gates.exporting.report import ExportError, ExportReport
from keras_gates.exporting.run import Plan, run
from keras_gates.exporting.samples import Sample


@dataclass
class Request:
    """What `export` was asked for, for this file."""

    model: keras.Model
    inputs: Inputs
    precision: str
    mode: str
    target: str
    batch: int
    steps: int | None
    form: str
    calibration: Any
    metadata: dict[str, Any] | None
    test: tuple[Any, Any] | None


@dataclass
class Built:
    """The file, and feeds and answers to test it with elsewhere: what goes in by name, predictions in float."""

    data: bytes
    plan: Plan
    golden: list[tuple[dict[str, np.ndarray], list[np.ndarray]]] = field(default_factory=list)


@dataclass
class Data:
    """Samples of the file's own length: for calibration, and held out."""

    fit: list[Sample]
    held_out: list[Sample]
    steps: int
    given: bool
    right_padded: bool


def build(request: Request, report: ExportReport) -> Built:
    """Make the file and fill the report; raises ExportError where it cannot be or is not the model."""
    integer = request.precision in forms.INTEGER
    if integer and request.calibration is None:
        raise ExportError(
            f"{request.precision} needs calibration=…: a hundred or so whole sequences of real inputs, from which the converter "
            "learns the range of every number."
        )
    data = prepare_data(request, report)
    asked = graph.look(request.model, request.inputs, request.batch, data.steps, data.right_padded)
    choices = forms.choose(
        asked.calls,
        form=request.form,
        precision=request.precision,
        mode=request.mode,
        target=request.target,
        unsteppable="",
    )
    report.form = "+".join(dict.fromkeys(choice.form for choice in choices)) or "plain"
    report.why = choices[0].why if choices else "no recurrent layer"
    report.layers = [dataclasses.asdict(choice) for choice in choices] if len(choices) > 1 else []
    stream = request.mode == "stream"
    step = report.form == "step"
    events = (request.steps or 1) if stream else 1 if step else data.steps
    report.steps = events
    if step:
        signature = graph.step_signature(
            request.model, request.inputs, asked.calls, request.batch, events, guard=integer
        )
    else:
        signature = graph.sequence_signature(
            request.model,
            request.inputs,
            [choice.form for choice in choices],
            request.batch,
            events,
            {} if stream else asked.padded,
            guard=integer,
            stream=stream,
        )
    feeder = Feeder(request, signature, asked.padded, events, stepwise=stream or step)
    with tempfile.TemporaryDirectory(prefix="keras_gates_") as folder:
        graph.save(request.model, [signature], folder)
        feeds = feeder.calibration(data.fit) if integer else None
        converted = litert.convert(folder, [signature.key], request.precision, feeds, [])
    packed = flatbuffer.load(converted)
    flatbuffer.tidy(packed, (list(signature.inputs), list(signature.outputs)))
    if integer:
        operators.keep_ltm_in_range(packed)
        operators.check_scales(packed)
    facts = describe(request, report, signature, asked.padded)
    plain = len(flatbuffer.dump(packed))
    finished = flatbuffer.with_metadata(packed, NAME, metadata_text(facts, request.metadata))
    file = tflite.read(finished)
    operators.check_builtin(file)
    report.bytes, report.metadata_bytes = len(finished), len(finished) - plain
    report.operators = operators.count_operators(file)
    plan = feeder.plan()
    golden = compare(request, report, finished, plan, feeder, data)
    return Built(finished, plan, golden)


def prepare_data(request: Request, report: ExportReport) -> Data:
    """The samples, cut or padded to one number of steps."""
    inputs = request.inputs
    given = request.calibration is not None
    if given:
        found = samples.samples_of(request.calibration, inputs)
        if len(found) < 2:
            raise ExportError(f"calibration has {len(found)} sequences; give at least two, better a hundred.")
        found = samples.spread(found, samples.MOST)
    lengths = [x.shape[1] for sample in found for x, port in zip(sample, inputs.ports) if port.time] if given else []
    whole = request.mode == "sequence"
    steps = (request.steps if whole else None) or inputs.steps or max(lengths, default=None)
    if steps is None and inputs.timed and whole:
        report.notes.append(f"the model leaves time open and no steps were given: made for {DEFAULT_STEPS}")
    steps = steps or DEFAULT_STEPS
    if not given:
        found = samples.random_samples(request.model, inputs, steps)
    paddings = graph.padding_values(request.model)
    right = True
    if len(set(paddings)) > 1:
        right = False
    cut = samples.with_steps(found, inputs, steps, paddings[0] if paddings else None)
    if paddings and not all(is_right_padded(sample, inputs, paddings[0]) for sample in cut):
        right = False
        report.notes.append("padding is not only at the end of the sequences: the mask is computed in the model")
    held = cut[::5]
    fit = [sample for number, sample in enumerate(cut) if number % 5] if given else cut
    if given and request.precision in forms.INTEGER and len(fit) < samples.ENOUGH:
        report.warnings.append(
            f"only {len(fit)} sequences to calibrate with: rare ranges are unknown to the file; give {samples.ENOUGH} or more"
        )
    return Data(fit, held, steps, given, right)


def is_right_padded(sample: Sample, inputs: Inputs, value: float) -> bool:
    """Whether padding, where there is any, is only at the end."""
    for x, port in zip(sample, inputs.ports):
        if port.time:
            real = real_steps(x, value)
            if real[: real.sum()].sum() != real.sum():
                return False
    return True


def real_steps(x: np.ndarray, value: float) -> np.ndarray:
    """`(time,)` booleans of a sample with a batch axis: False where every feature is the padding value."""
    differs = x[0] != value
    return differs if differs.ndim == 1 else differs.reshape(len(differs), -1).any(axis=-1)


class Feeder:
    """Samples as the file wants them: by name, with lengths, batch repeated, or event by event."""

    def __init__(self, request: Request, signature: graph.Signature, padded: dict[str, float], events: int, *, stepwise: bool):
        self.request, self.signature, self.padded = request, signature, padded
        self.events, self.stepwise = events, stepwise

    def plan(self) -> Plan:
        return Plan(
            self.signature.key,
            [port.name for port in self.request.inputs.ports if port.time],
            self.signature.over_time,
            [(state["input"], state["output"]) for state in self.signature.states],
            self.events if self.stepwise else None,
        )

    def feed(self, sample: Sample) -> dict[str, np.ndarray]:
        feed = {port.name: x for port, x in zip(self.request.inputs.ports, sample)}
        for name, role in self.signature.inputs.items():
            if role == "lengths":
                of = name.removesuffix("_lengths") if name != "lengths" else next(iter(self.padded))
                feed[name] = np.array([real_steps(feed[of], self.padded[of]).sum()], np.int32)
        return {name: np.repeat(x, self.request.batch, axis=0) for name, x in feed.items()}

    def calibration(self, fit: list[Sample]) -> list[dict[str, np.ndarray]]:
        """One dict a call, sequences one after the other, memories rolled out by the function itself."""
        timed = [port.name for port in self.request.inputs.ports if port.time]
        calls = []
        for sample in fit:
            feed = self.feed(sample)
            if not self.stepwise:
                calls.append(feed)
                continue
            memory = graph.zero_memories(self.signature)
            for start in range(0, feed[timed[0]].shape[1] - self.events + 1, self.events):
                part = {n: x[:, start : start + self.events] if n in timed else x for n, x in feed.items()} | memory
                calls.append(part)
                if memory:
                    after = self.signature.function(**part)
                    memory = {state["input"]: after[state["output"]].numpy() for state in self.signature.states}
        return calls


def describe(
    request: Request, report: ExportReport, signature: graph.Signature, padded: dict[str, float]
) -> dict[str, Any]:
    """The facts for the metadata; see metadata.py."""
    ports = {port.name: port for port in request.inputs.ports}

    def told(names: dict[str, str], incoming: bool) -> list[dict[str, Any]]:
        entries = []
        for index, (name, role) in enumerate(names.items()):
            entry: dict[str, Any] = {"name": name, "index": index, "role": role}
            if role == "event":
                entry["time"] = ports[name].time
            if role == "lengths":
                of = name.removesuffix("_lengths") if name != "lengths" else next(iter(padded))
                entry |= {"of": of, "padding": {"value": padded[of]}}
            if role == "prediction":
                entry["time"] = signature.over_time[name]
            entries.append(entry)
        return entries

    return {
        "name": request.model.name,
        "mode": request.mode,
        "form": report.form,
        "precision": request.precision,
        "target": request.target,
        "batch": request.batch,
        "steps": report.steps,
        "resizable": report.resizable,
        "reset": "fused" in report.form,
        "signature": signature.key,
        "inputs": told(signature.inputs, True),
        "outputs": told(signature.outputs, False),
        "states": signature.states,
    }


def compare(
    request: Request, report: ExportReport, data: bytes, plan: Plan, feeder: Feeder, samples_: Data
) -> list[tuple[dict[str, np.ndarray], list[np.ndarray]]]:
    """Run held-out samples through the file and through Keras; raise where they differ too much."""
    held = samples.spread(samples_.held_out, 64)
    feeds = [feeder.feed(sample) for sample in held]
    try:
        got, seconds = children.call(run, data, plan, feeds)
    except children.ChildError as error:
        raise ExportError(f"the file does not run in ai-edge-litert: {error}") from error
    got = [[x[:1] for x in answer] for answer in got]
    wanted = verify.keras_outputs(request.model, request.inputs, held)
    difference = verify.compare(wanted, got, request.precision)
    report.samples = difference.samples
    report.max_difference, report.mean_difference = difference.largest, difference.mean
    report.tolerance, report.agreement = difference.allowed, difference.agreement
    report.latency_us = 1e6 * seconds
    if not difference.acceptable:
        raise ExportError(
            f"the {request.precision} file ({report.form}) differs from Keras by up to {difference.largest:.3g} (mean "
            f"{difference.mean:.3g}) over {difference.samples} samples; allowed are {difference.allowed:.3g} (mean "
            f"{difference.mean_allowed:.3g}). Nothing was written. Take a finer precision, or calibrate with more and more "
            "typical sequences."
        )
    return list(zip(feeds, got))
