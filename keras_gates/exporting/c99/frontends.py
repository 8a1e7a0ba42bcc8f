"""What a device computes before and after the model: log-mel events, standardized measurements, smoothing and trigger."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from keras_gates.edge.fixed_log_mel import DROPPED, SHORT, FixedLogMel
from keras_gates.edge.tflite import EdgeError
from keras_gates.exporting.c99.graph import C_TYPES, Graph, Value
from keras_gates.exporting.c99.program import Program, array
from keras_gates.exporting.report import ExportError

_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST = 10_000  # events in an average: sums of 16 bits stay in 32


@dataclass(frozen=True)
class Trigger:
    """When `NAME_listen` reports a class; as the arguments of `EdgeModel.stream`.

    Attributes:
        smooth: Predictions that the average covers.
        threshold: A class is reported when its average rises to it.
        background: Labels that are never reported.
    """

    smooth: int = 1
    threshold: float = 0.5
    background: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrontEnd:
    """Additions to a program.

    Attributes:
        header: Declarations.
        tables: Constants and functions before the model's.
        code: Functions behind the model's.
        listens: Whether there is NAME_listen.
    """

    header: str = ""
    tables: str = ""
    code: str = ""
    listens: bool = False


def front_end(program: Program, graph: Graph, trigger: Trigger) -> FrontEnd:
    """Return the C of a file's front end; nothing if it has none, or runs whole sequences only.

    Raises:
        ExportError: The trigger does not fit the file, or its log-mel frame is no power of two.
    """
    description, streams = graph.description, not program.schedule.whole
    if unknown := set(trigger.background) - set(description.labels):
        raise ExportError(f"background: the file has no label {sorted(unknown)}; it has {list(description.labels)}.")
    if not 1 <= trigger.smooth <= _LONGEST:
        raise ExportError(f"smooth must be from 1 to {_LONGEST}, got {trigger.smooth}.")
    if description.scales and len(graph.inputs) == 1:
        return _standardize(program, graph.inputs[0], description.frontend)
    one = len(graph.inputs) == len(graph.outputs) == 1 and program.size(graph.inputs[0]) == description.frontend.get(
        "bins"
    )
    if description.hears and streams and one:
        return _listen(program, graph, trigger)
    return FrontEnd()


def _standardize(program: Program, value: Value, frontend: dict[str, Any]) -> FrontEnd:
    channels, kind = value.shape[-1], C_TYPES[value.dtype]
    if len(frontend["mean"]) != channels:
        return FrontEnd()
    tables = "\n".join(array(name, np.float32(frontend[name]), "float") for name in ("mean", "deviation")) + "\n"
    store = "        event[i] = real;"
    if kind != "float":
        info = np.iinfo(value.dtype)
        store = (
            f"        float whole = real / {float(value.scale)!r}f;\n"
            "        whole += real < 0 ? -0.5f : 0.5f;\n"
            f"        const int32_t y = (int32_t)(whole < -1e6f ? -1e6f : whole > 1e6f ? 1e6f : whole) + ({value.zero});\n"
            f"        event[i] = ({kind})(y < {info.min} ? {info.min} : y > {info.max} ? {info.max} : y);"
        )
    words = {"name": program.name, "type": kind, "channels": channels, "store": store}
    header = (
        "\n/* Measurements of one event, in the sensor's units, to what the model takes. */\n"
        f"void {program.name}_standardize(const float *values, {kind} *event);\n"
    )
    return FrontEnd(header, tables, _filled("standardize.c", words))


def _listen(program: Program, graph: Graph, trigger: Trigger) -> FrontEnd:
    value, result, name = graph.inputs[0], graph.outputs[0], program.name
    try:
        mel = FixedLogMel(graph.description.frontend, graph.description.events[0])
    except EdgeError as error:
        raise ExportError(str(error)) from error
    labels = graph.description.labels
    classes = program.size(result)
    if len(labels) not in (0, classes):
        raise ExportError(f"NAME_listen needs a label per class, this file has {len(labels)} for {classes}.")
    kind, answer, big = C_TYPES[value.dtype], C_TYPES[result.dtype], name.upper()
    spans = [[first, first + len(weights)] for first, weights in mel.bands]
    tables = [
        array("mel_window", mel.window, "int16_t"),
        array("mel_cosines", mel.cosines, "int16_t"),
        array("mel_sines", mel.sines, "int16_t"),
        array("mel_logarithms", mel.logarithms, "int32_t"),
        array("mel_weights", np.concatenate([weights for _, weights in mel.bands]), "uint16_t"),
        f"static const int16_t mel_bands[{mel.bins}][2] = {{{', '.join(f'{{{a}, {b}}}' for a, b in spans)}}};",
    ]
    if mel.rescale:
        multiplier, shift = mel.rescale
        info = np.iinfo(value.dtype)
        store = (
            f"        const int32_t whole = (int32_t)(((int64_t)y * {multiplier} + ((int64_t)1 << {shift - 1})) >> {shift}) + "
            f"({value.zero});\n"
            f"        event[band] = ({kind})(whole < {info.min} ? {info.min} : whole > {info.max} ? {info.max} : whole);"
        )
    else:
        store = f"        event[band] = (float)y * {float(np.float32(np.log(2) / 65536))!r}f;"
    stages = mel.frame.bit_length() - 1
    words = {"frame": mel.frame, "hop": mel.hop, "bins": mel.bins, "stages": stages, "type": kind, "store": store}
    words |= {
        "shift": SHORT - mel.extra,
        "rounding": 1 << (SHORT - mel.extra - 1),
        "floor": mel.floor,
        "dropped": DROPPED,
        "one": mel.one,
    }
    reach, active = _reach(result, answer, trigger)
    quiet = [int(label in trigger.background) for label in labels] or [0] * classes
    tables += [_filled("log_mel.c", words), array("quiet", quiet, "int8_t"), reach]
    words |= {"name": name, "in": kind, "out": answer, "classes": classes, "smooth": trigger.smooth, "active": active}
    words["slot"] = f"s->events % {trigger.smooth}" if trigger.smooth > 1 else "0"
    sums = "float" if answer == "float" else "int32_t"
    program.state += [
        f"int32_t spectrum[{mel.frame}][2];",
        f"{sums} smoothed[{classes}];",
        "int32_t next, waiting, events, best, active;",
        f"int16_t ring[{mel.frame}];",
        f"{answer} recent[{trigger.smooth}][{classes}];",
    ]
    program.resets.append("s->next = s->waiting = s->events = s->best = 0, s->active = -1;")
    names = ", ".join(map(literal, labels))
    header = (
        f"\n#define {big}_SAMPLE_RATE {int(graph.description.frontend['sample_rate'])} /* of the samples, Hz */\n"
        f"#define {big}_FRAME {mel.frame} /* samples per event */\n#define {big}_HOP {mel.hop} /* samples between events */\n"
    )
    if labels:
        header += f"\nextern const char *const {name}_labels[{classes}];\n"
    header += _filled("listen.in", words | {"threshold": trigger.threshold})
    code = _filled("listen.c", words)
    if labels:
        code = f"\nconst char *const {name}_labels[{classes}] = {{{names}}};\n{code}"
    return FrontEnd(header, "\n".join(tables) + "\n", code, True)


def literal(text: str) -> str:
    """Return a string literal of C for any text: whatever could end it, trigraphs included, is a number.

    Example:

    >>> literal('say "no"?')
    '"say \\\\042no\\\\042\\\\077"'
    """
    plain = set(map(ord, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-.,:;+()/'"))
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _reach(result: Value, answer: str, trigger: Trigger) -> tuple[str, str]:
    """Return the least sums that reach the threshold, by the number of events so far, and the comparison."""
    if answer == "float":
        return "", f"s->smoothed[s->best] / (float)n >= {float(np.float32(trigger.threshold))!r}f"
    info = np.iinfo(result.dtype)
    sums = []
    for n in range(1, trigger.smooth + 1):

        def mean(whole: int, n: int = n) -> float:
            return float(np.float32(whole - n * result.zero) * result.scale / np.float32(n))

        every = range(n * info.min, n * info.max + 1)
        sums.append(every.start + bisect_left(every, trigger.threshold, key=mean))
    return array("reach", sums, "int32_t"), "s->smoothed[s->best] >= reach[n - 1]"


def _filled(name: str, words: dict[str, Any]) -> str:
    return Template(_TEMPLATES.joinpath(name).read_text(encoding="utf-8")).substitute(words)
