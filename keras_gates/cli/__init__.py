"""``keras-gates``: train, export, and on the device info, predict, stream and bench."""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.edge.bench import bench
from keras_gates.edge.frontends import log_mel, read_wav

_DELEGATES = {"train": "keras_gates.models.training", "export": "keras_gates.cli.export"}
_INTRODUCTION = """Train, export and run LSTM models whose gates have names.

  keras-gates train digits                    train a model of the zoo, export and verify it
  keras-gates export model.keras out/         a .keras file to .tflite, SavedModel or C
  keras-gates info model.tflite               what is in the file
  keras-gates predict model.tflite x.npy      predictions for a batch
  keras-gates stream model.tflite x.csv       one event at a time, as on a sensor
  keras-gates bench model.tflite              how long it takes and how much it needs here

info, predict, stream and bench need only NumPy and ai-edge-litert."""
_INPUTS = """inputs:
  x.npy, x.npz   the array that the model takes, with or without its batch axis (.npz: several inputs by name)
  x.csv          rows of numbers: the steps of one sequence, or examples where the model has no time; a header is skipped
  x.wav          sound, for models that hear
  -              standard input: a text a line where the model has a vocabulary, else the rows of a CSV"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0, or 2 with the reason on standard error)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in _DELEGATES:
        return importlib.import_module(_DELEGATES[argv[0]]).main(argv[1:]) or 0
    arguments = _parser().parse_args(argv)
    try:
        model = EdgeModel(arguments.file, num_threads=arguments.threads, probe=True if arguments.probe else None)
        arguments.run(model, arguments)
    except EdgeError as error:
        print(f"keras-gates: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stdout = None
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-gates", description=_INTRODUCTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in (("train", "train a model of the zoo"), ("export", "a .keras file to .tflite, SavedModel or C")):
        commands.add_parser(name, help=f"{what}; `keras-gates {name} --help` tells more", add_help=False)
    info = _command(commands, "info", "what is in the file: inputs, outputs, operators, labels, sizes", _info)
    info.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    predict = _command(commands, "predict", "predictions for a batch; every example starts from empty memory", _predict)
    predict.add_argument("input", nargs="+", help="what to predict from, see below")
    predict.add_argument(
        "--top", type=int, default=1, metavar="N", help="show the N best labels (default: %(default)s)"
    )
    predict.add_argument("-o", "--output", metavar="Y.npy", help="write arrays instead: .npy, or .npz for several")
    stream = _command(commands, "stream", "one event at a time; the memory stays between them", _stream)
    stream.add_argument("input", nargs="?", default="-", help="the events, see below (default: standard input)")
    stream.add_argument("--smooth", type=int, default=1, metavar="N", help="average over the last N events")
    stream.add_argument("--threshold", type=float, metavar="P", help="print only classes that rise to P")
    stream.add_argument(
        "--background", action="append", default=[], metavar="LABEL", help="a label that is never printed"
    )
    stream.add_argument(
        "--state", metavar="S.npz", help="continue from this state if the file exists, and write it at the end"
    )
    measure = _command(
        commands, "bench", "latency percentiles, time an operator, file and memory size, on this machine", _bench
    )
    measure.add_argument("--runs", type=int, default=200, help="calls to time (default: %(default)s)")
    measure.add_argument("--steps", type=int, metavar="T", help="length of the sequence (default: as converted)")
    measure.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser


def _command(commands: Any, name: str, what: str, run: Any) -> argparse.ArgumentParser:
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
        "--probe", action="store_true", help="run the file in a child process first, though it may have changed"
    )
    parser.set_defaults(run=run)
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
    _table((), rows)


def _predict(model: EdgeModel, arguments: argparse.Namespace) -> None:
    results = [model.predict(_batch(model, source)) for source in arguments.input]
    names = [port.name for _, port in model.description.predictions]
    columns = {
        name: [row for result in results for row in (result[name] if len(names) > 1 else result)] for name in names
    }
    if arguments.output:
        arrays = {}
        for name, rows in columns.items():
            if len({row.shape for row in rows}) == 1:
                arrays[name] = np.stack(rows)
            else:
                arrays |= {f"{name}_{number}": row for number, row in enumerate(rows)}
        if len(arrays) > 1 and Path(arguments.output).suffix != ".npz":
            raise EdgeError(f"the predictions are {len(arrays)} arrays ({', '.join(arrays)}): write them to a .npz.")
        _write(Path(arguments.output), arrays)
        return
    for name, rows in columns.items():
        if len(names) > 1:
            print(name)
        if rows[0].ndim > 2 or not (model.labels and name == names[0]):
            _table(("example", "prediction"), [(i, _short(row)) for i, row in enumerate(rows)])
            continue
        _table(("example", *(["step"] if rows[0].ndim > 1 else []), "best"), _best_rows(model, rows, arguments.top))


def _best_rows(model: EdgeModel, rows: list[np.ndarray], top: int) -> Iterator[tuple]:
    for i, row in enumerate(rows):
        steps = row if row.ndim > 1 else [row]
        for step, prediction in enumerate(steps):
            words = "  ".join(f"{label} {value:.3f}" for label, value in model.best(prediction, top))
            yield (i, step, words) if row.ndim > 1 else (i, words)


def _stream(model: EdgeModel, arguments: argparse.Namespace) -> None:
    threshold = arguments.threshold
    stream = model.stream(smooth=arguments.smooth, threshold=threshold, background=arguments.background)
    state = Path(arguments.state) if arguments.state else None
    if state and state.exists():
        stream.state = _arrays(state)
    for event in _events(model, arguments.input):
        if threshold is not None:
            for found in stream.detect(event):
                print(f"{found.event}\t{found.label}\t{found.value:.3f}", flush=True)
            continue
        prediction = stream.push(event)
        first = next(iter(prediction.values())) if isinstance(prediction, dict) else prediction
        for row in first if model.description.stride > 1 else [first]:
            words = (
                "\t".join(f"{label}\t{value:.3f}" for label, value in model.best(row)) if model.labels else _short(row)
            )
            print(f"{stream.count - 1}\t{words}", flush=True)
    if state:
        _write(state, stream.state)


def _bench(model: EdgeModel, arguments: argparse.Namespace) -> None:
    measured = {"bytes": model.file.size, **bench(model, steps=arguments.steps, runs=arguments.runs)}
    if arguments.json:
        print(json.dumps(measured))
        return
    memory = "unknown here" if measured["memory"] is None else f"{measured['memory'] / 1024:.0f} KB an interpreter"
    _table((), [("file", f"{measured['bytes']} bytes"), ("memory", memory), ("load", f"{measured['load']:.2f} ms")])
    kinds = {"whole sequence": "sequence", "one event": "event", "one call, LiteRT alone": "interpreter"}
    rows = [
        (name, *(f"{value:.0f}" for value in times.values())) for name, key in kinds.items() if (times := measured[key])
    ]
    print()
    _table(("µs", *measured["sequence"]), rows)
    print()
    if measured["operators"] is None:
        print("no time an operator: the graph has too many of them, or is not the file's first")
    else:
        _table(
            ("operator", "µs (by difference)"), [(name, f"{cost:.1f}") for name, cost in measured["operators"].items()]
        )


def _batch(model: EdgeModel, source: str) -> Any:
    """What `predict` takes, from a file or standard input."""
    kind = Path(source).suffix.lower()
    if kind == ".npz":
        return {name: _with_batch(model, array, name) for name, array in _arrays(Path(source)).items()}
    if kind == ".npy":
        return _with_batch(model, _arrays(Path(source))["array"])
    if kind == ".wav":
        return _heard(model, source)[None]
    if model.description.vocabulary:
        return [line for line in _lines(source) if line.strip()]
    return _with_batch(model, np.array(list(_csv(source))))


def _events(model: EdgeModel, source: str) -> Iterable[Any]:
    """What `push` takes, one after the other."""
    kind, stride = Path(source).suffix.lower(), model.description.stride
    if kind not in (".npy", ".npz", ".wav"):
        if model.description.vocabulary:
            return (token for line in _lines(source) if line.strip() for token in model.events(line))
        rows = map(model.events, _csv(source)) if model.description.scales else _csv(source)
        return rows if stride == 1 else (np.array(block) for block in zip(*[rows] * stride))
    if kind == ".npz":
        raise EdgeError("stream takes one input: give an .npy of shape (time, features).")
    events = _heard(model, source, whole=True) if kind == ".wav" else _arrays(Path(source))["array"]
    return (events[i] if stride == 1 else events[i : i + stride] for i in range(0, len(events) - stride + 1, stride))


def _with_batch(model: EdgeModel, array: np.ndarray, name: str | None = None) -> np.ndarray:
    ports = {port.name: port for port in model.description.events}
    port = ports.get(name, next(iter(ports.values())))
    array = model.events(array) if model.description.scales else array
    return array[None] if array.ndim == len(port.tensor.shape) - 1 else array


def _heard(model: EdgeModel, source: str, *, whole: bool = False) -> np.ndarray:
    """A recording as the model takes it: log-mel events or samples; unless `whole`, cut or filled with silence to its length."""
    sound, rate = read_wav(source)
    description, port = model.description, model.description.events[0]
    wanted = description.frontend.get("sample_rate")
    if wanted is not None and wanted != rate:
        raise EdgeError(f"{source} has {rate} samples a second, the model hears {wanted}: convert it first.")
    if not description.hears and len(port.tensor.shape) != 2:
        raise EdgeError(f"this model takes {port.text}, not sound.")
    samples = log_mel(description.frontend).samples(port.tensor.shape[1]) if description.hears else port.tensor.shape[1]
    if not whole:
        sound = np.pad(sound, (0, max(samples - len(sound), 0)))[:samples]
    return model.events(sound) if description.hears else sound


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
        return {"array": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except Exception as error:
        raise EdgeError(f"{path}: expected an array that numpy.save or numpy.savez wrote; {error}") from None


def _lines(source: str) -> Iterator[str]:
    try:
        if source == "-":
            yield from (line.rstrip("\n") for line in sys.stdin)
        else:
            with open(source, encoding="utf-8", newline="") as file:
                yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"cannot read {source!r} as text: {error}") from None


def _csv(source: str) -> Iterator[np.ndarray]:
    """Rows of numbers, one at a time."""
    width = None
    try:
        for number, row in enumerate(csv.reader(_lines(source)), 1):
            if not row or not any(row):
                continue
            try:
                with np.errstate(over="ignore"):
                    values = np.array([float(cell) for cell in row]).astype(np.float32)
            except ValueError:
                if number == 1 and not any(_is_number(cell) for cell in row):
                    continue
                raise EdgeError(f"{source}, line {number}: expected numbers, got {','.join(row)[:60]!r}.") from None
            width = width or len(values)
            if len(values) != width:
                raise EdgeError(f"{source}, line {number}: expected {width} numbers, got {len(values)}.")
            yield values
    except csv.Error as error:
        raise EdgeError(f"{source}: no CSV: {error}.") from None
    if width is None:
        raise EdgeError(f"{source} holds no numbers.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write .npy for one array, .npz for several, whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    with open(unfinished, "wb") as file:
        np.savez(file, **arrays) if path.suffix == ".npz" or len(arrays) > 1 else np.save(file, *arrays.values())
    unfinished.replace(path)


def _short(row: np.ndarray) -> str:
    return np.array2string(row, precision=4, threshold=12, edgeitems=4, max_line_width=100)


def _table(head: tuple, rows: Iterable[tuple]) -> None:
    cells = [tuple(map(str, row)) for row in ([head] if head else [])] + [tuple(map(str, row)) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]) - 1)] if cells else []
    for row in cells:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]))


if __name__ == "__main__":
    sys.exit(main())
