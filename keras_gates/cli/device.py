"""The commands that run a ``.tflite`` on the device: info, predict, stream and bench. NumPy and ai-edge-litert are enough."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates._quiet import without_native_log
from keras_gates.cli.inputs import read_arrays, read_batch, read_events, write_arrays
from keras_gates.cli.long_recordings import add_options, print_events
from keras_gates.cli.table import print_table
from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.edge.bench import bench
from keras_gates.edge.examples import forecast_rows
from keras_gates.edge.tables import SUFFIXES

_INPUTS = """inputs:
  x.npy, x.npz   the model's input, with or without its batch axis (.npz: one array per input, by name)
  x.csv          rows of numbers: the time steps of one sequence, or one example per row if the model has no time axis;
                 a header is skipped
                 for a model of train.py also the table that it was trained on, or another of its kind
  x.wav          audio (also .flac, .ogg, .mp3), resampled, for models with an audio front end
  -              standard input: one text per line if the model has a vocabulary, otherwise the rows of a CSV"""


def add_commands(commands: Any) -> None:
    """Add the parsers of info, predict, stream and bench.

    Args:
        commands: What `argparse.ArgumentParser.add_subparsers` returned.
    """
    _command(commands, "info", "show inputs, outputs, operators, labels and sizes of a file", _info)
    predict = _command(commands, "predict", "predict a batch; every example starts with an empty memory", _predict)
    predict.add_argument("input", nargs="+", help="input files, see below")
    predict.add_argument(
        "--top", type=int, default=1, metavar="N", help="show the N best labels (default: %(default)s)"
    )
    predict.add_argument("-o", "--output", metavar="Y.npy", help="write arrays instead: .npy, or .npz for several")
    add_options(predict)
    stream = _command(
        commands, "stream", "predict one event at a time; STM and LTM persist from event to event", _stream
    )
    stream.add_argument("input", nargs="?", default="-", help="the events, see below (default: standard input)")
    stream.add_argument(
        "--smooth", type=int, default=1, metavar="N", help="average over the last N events (default: %(default)s)"
    )
    stream.add_argument("--threshold", type=float, metavar="P", help="print only classes that rise to P")
    stream.add_argument("--background", action="append", default=[], metavar="LABEL", help="never print this label")
    stream.add_argument(
        "--state", metavar="S.npz", help="continue from this state if the file exists; write it at the end"
    )
    measure = _command(
        commands,
        "bench",
        "measure latency percentiles, time per operator, file and memory size on this machine",
        _bench,
    )
    measure.add_argument("--runs", type=int, default=200, help="timed calls (default: %(default)s)")
    measure.add_argument("--steps", type=int, metavar="T", help="time steps of the sequence (default: as converted)")


def run(arguments: argparse.Namespace) -> int:
    """Open the file and run the command.

    Args:
        arguments: What a parser of `add_commands` returned.

    Returns:
        Exit status: 0, or 2 with the reason on standard error.
    """
    try:
        with contextlib.ExitStack() as stack:
            if not arguments.verbose:
                stack.enter_context(without_native_log())
            model = EdgeModel(arguments.file, num_threads=arguments.threads, probe=True if arguments.probe else None)
            if arguments.quiet:
                stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            arguments.run(model, arguments)
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone: without this, flushing at exit prints a traceback
    except (EdgeError, OSError) as error:
        if arguments.verbose:
            raise
        print(f"keras-gates: {error}", file=sys.stderr)
        return 2
    return 0


def _command(
    commands: Any, name: str, what: str, function: Callable[[EdgeModel, argparse.Namespace], None]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=_INPUTS if name in ("predict", "stream") else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help="the .tflite file")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads (default: %(default)s)")
    parser.add_argument(
        "--probe",
        action="store_true",
        help="run the file once in a subprocess first; also accept a file whose checksum differs",
    )
    what = "one JSON object per event" if name == "stream" else "one JSON object instead of a table"
    parser.add_argument("--json", action="store_true", help=f"print {what}")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument("--verbose", action="store_true", help="show log output of LiteRT, and tracebacks")
    parser.set_defaults(run=function)
    return parser


def _info(model: EdgeModel, arguments: argparse.Namespace) -> None:
    info = model.info()
    if arguments.json:
        print(json.dumps(info, ensure_ascii=False, default=str))
        return
    rows = []
    for key, value in info.items():
        lines = [f"{k}: {v}" for k, v in value.items()] if isinstance(value, dict) else None
        lines = lines or ([", ".join(map(str, value))] if isinstance(value, list) else [str(value)])
        rows += [
            (key.replace("_", " ") if i == 0 else "", line) for i, line in enumerate(lines) if line not in ("", "{}")
        ]
    print_table(rows)


def _predict(model: EdgeModel, arguments: argparse.Namespace) -> None:
    if arguments.stream:
        for source in arguments.input:
            print_events(model, source, arguments)
        return
    results = [model.predict(read_batch(model, source)) for source in arguments.input]
    names = [port.name for _, port in model.description.predictions]
    columns = {
        name: [row for result in results for row in (result[name] if len(names) > 1 else result)] for name in names
    }
    if arguments.output:
        _write_predictions(Path(arguments.output), columns)
        return
    if arguments.json:
        best = (
            {"best": [model.best(row, arguments.top) for row in columns[names[0]] if row.ndim == 1]}
            if model.labels
            else {}
        )
        values = {name: [row.tolist() for row in rows] for name, rows in columns.items()}
        print(json.dumps({**values, **best}, ensure_ascii=False, default=float))
        return
    for name, rows in columns.items():
        if len(names) > 1:
            print(name)
        if model.description.table.get("kind") == "series" and Path(arguments.input[0]).suffix.lower() in SUFFIXES:
            for source, row in zip(arguments.input, rows):
                heading, forecast = forecast_rows(model.description, source, row)
                print_table(forecast, heading)
            continue
        if rows[0].ndim > 2 or not (model.labels and name == names[0]):
            print_table([(i, _short(row)) for i, row in enumerate(rows)], ("example", "prediction"))
            continue
        head = ("example", *(["step"] if rows[0].ndim > 1 else []), "best")
        print_table(_best_rows(model, rows, arguments.top), head)


def _write_predictions(path: Path, columns: dict[str, list[np.ndarray]]) -> None:
    arrays = {}
    for name, rows in columns.items():
        if len({row.shape for row in rows}) == 1:
            arrays[name] = np.stack(rows)
        else:
            arrays |= {f"{name}_{number}": row for number, row in enumerate(rows)}
    if len(arrays) > 1 and path.suffix != ".npz":
        raise EdgeError(f"the predictions are {len(arrays)} arrays ({', '.join(arrays)}): write them to a .npz.")
    write_arrays(path, arrays)


def _best_rows(model: EdgeModel, rows: list[np.ndarray], top: int) -> Iterator[tuple[int | str, ...]]:
    for i, row in enumerate(rows):
        for step, prediction in enumerate(row if row.ndim > 1 else [row]):
            words = "  ".join(f"{label} {value:.3f}" for label, value in model.best(prediction, top))
            yield (i, step, words) if row.ndim > 1 else (i, words)


def _stream(model: EdgeModel, arguments: argparse.Namespace) -> None:
    threshold = arguments.threshold
    stream = model.stream(smooth=arguments.smooth, threshold=threshold, background=arguments.background)
    state = Path(arguments.state) if arguments.state else None
    if state and state.exists():
        stream.state = read_arrays(state)
    for event in read_events(model, arguments.input):
        if threshold is not None:
            for detection in stream.detect(event):
                if arguments.json:
                    content = {"event": detection.event, "label": detection.label, "value": float(detection.value)}
                    print(json.dumps(content, ensure_ascii=False), flush=True)
                    continue
                print(f"{detection.event}\t{detection.label}\t{detection.value:.3f}", flush=True)
            continue
        prediction = stream.push(event)
        first = next(iter(prediction.values())) if isinstance(prediction, dict) else prediction
        for row in first if model.description.stride > 1 else [first]:
            if arguments.json:
                best_of: dict[str, Any] = {"best": model.best(row)} if model.labels else {}
                line: dict[str, Any] = {"event": stream.count - 1, "values": row.tolist(), **best_of}
                print(json.dumps(line, ensure_ascii=False, default=float), flush=True)
                continue
            best = "\t".join(f"{label}\t{value:.3f}" for label, value in model.best(row)) if model.labels else ""
            print(f"{stream.count - 1}\t{best or _short(row)}", flush=True)
    if state:
        write_arrays(state, stream.state)


def _bench(model: EdgeModel, arguments: argparse.Namespace) -> None:
    measured = {"bytes": model.file.size, **bench(model, steps=arguments.steps, runs=arguments.runs)}
    if arguments.json:
        print(json.dumps(measured))
        return
    memory = "unknown on this system" if measured["memory"] is None else f"{measured['memory'] / 1024:.0f} KB"
    print_table(
        [
            ("file", f"{measured['bytes']} bytes"),
            ("memory per interpreter", memory),
            ("load", f"{measured['load']:.2f} ms"),
        ]
    )
    kinds = {"whole sequence": "sequence", "one event": "event", "one call, LiteRT alone": "interpreter"}
    rows = [
        (name, *(f"{value:.0f}" for value in times.values())) for name, key in kinds.items() if (times := measured[key])
    ]
    print()
    print_table(rows, ("µs per call", *measured["sequence"]))
    print()
    if measured["operators"] is None:
        print("no per-operator times: more than 64 operators, or not the main subgraph")
    else:
        rows = [(name, f"{cost:.1f}") for name, cost in measured["operators"].items()]
        print_table(rows, ("operator", "µs per call (by difference)"))


def _short(row: np.ndarray) -> str:
    return np.array2string(row, precision=4, threshold=12, edgeitems=4, max_line_width=100)
