"""Pass damaged files to everything that reads files on the device, and count the results.

    python benchmarks/fuzz.py models/weights/*nano*.tflite --count 100000 --json benchmarks/results/fuzz.json

Every input is a copy of a good one with bytes flipped, overwritten, cut off, doubled or moved; half of them are damaged where
their structure is (`damage.py`): an offset, length or scalar of the flatbuffer, an entry of the metadata's JSON, a size in the
header of a sound, a value in the header of an NPY, a member of an NPZ or a workbook (with whole checksums), a cell of a table.
Reading must end in a result or in an `EdgeError` within 30 s; anything else is printed and makes the exit status 1. What
`keras_gates.edge.tflite.read` lets pass also runs in LiteRT: a crash there is what `EdgeModel(probe=…)` detects, and is only
counted. Inputs run in forked workers, each for many of them; after a crash a new one goes on.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
import wave
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.modules["keras"] = None  # the device has none, and forking a process that loaded TensorFlow is slow

import numpy as np
from damage import (
    mutate,
    mutate_archive,
    mutate_cells,
    mutate_header,
    mutate_json,
    mutate_npy,
    mutate_words,
)

from keras_gates.cli.inputs import read_arrays, read_rows
from keras_gates.edge import EdgeError
from keras_gates.edge.description import describe
from keras_gates.edge.runtime import Runtime
from keras_gates.edge.sound import read_wav
from keras_gates.edge.tables import read_table
from keras_gates.edge.tflite import read, seal

_MEMORY = 6 << 30  # bytes that a worker may take: a header that promises more must not take the machine's


@dataclass(frozen=True)
class Reader:
    """Something that reads files.

    Attributes:
        good: contents that it reads.
        damage: a damaged copy of one of them, where its structure is.
        run: reads damaged bytes and returns how that ended; None is "read".
        suffix: of the file that `run` gets the path of, instead of the bytes.
        inputs: that one worker takes.
        seconds: that an input may take.
        may_crash: whether a crash, or an input that takes too long, is only counted.
    """

    good: list[bytes]
    damage: Callable[[bytes, random.Random], bytes]
    run: Callable
    suffix: str = ""
    inputs: int = 5000
    seconds: int = 30
    may_crash: bool = False


def _read(data: bytes) -> None:
    describe(read(data))


def _in_litert(data: bytes) -> str:
    file = read(data)
    description = describe(file)
    try:
        runtime = Runtime(data, file, description)
        runtime.run([np.ones(port.tensor.shape, port.tensor.dtype) for port in description.inputs])
    except EdgeError:
        return "EdgeError from LiteRT"
    return "ran"


def _sealed(good: set[bytes]) -> Callable[[bytes], str]:
    def run(data: bytes) -> str:
        """A damaged sealed file must be told from a good one."""
        sealed = read(data).sealed
        if sealed and seal(data) == data and data not in good:
            raise AssertionError("damage under a seal that holds")
        return "unchanged" if data in good else "no valid checksum" if not sealed else "another checksum"

    return run


def _metadata(files: list) -> Callable[[bytes], None]:
    return lambda text: describe(replace(files[len(text) % len(files)], metadata={"keras_gates": text})) and None


def _bytes(write: Callable, *arguments: object, **options: object) -> bytes:
    file = io.BytesIO()
    write(file, *arguments, **options)
    return file.getvalue()


def _sounds() -> tuple[bytes, list[bytes]]:
    import soundfile

    samples = np.random.default_rng(0).integers(-999, 999, 300, "int16")
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    kinds = [_bytes(soundfile.write, samples, 8000, format=kind) for kind in ("FLAC", "OGG", "AIFF", "MP3")]
    return sound.getvalue(), kinds


def readers_of(files: list[bytes]) -> dict[str, Reader]:
    """Return what reads files, by name.

    Args:
        files: Good .tflite files.
    """
    import pandas

    unsealed = [data.replace(b'{"digest"', b'{"digesd"') for data in files]
    entries = [read(data) for data in files]
    table = b"a,b,c\n" + b"\n".join(b"0.25,-1.5,3e2" for _ in range(12)) + b"\n"
    named = b"time;name;value\n" + b"\n".join(b'2024-01-%02d;"x, y";1,5' % day for day in range(1, 13)) + b"\n"
    frame = pandas.DataFrame({"a": [0.25, -1.5, 3.0], "b": ["x", "y", "z"]})
    workbook = _bytes(lambda file: frame.to_excel(file, index=False))
    parquet = _bytes(lambda file: frame.to_parquet(file))
    array = _bytes(np.save, np.ones((4, 3), "float32"))
    archive = _bytes(np.savez, events=np.ones((4, 3), "float32"), other=np.zeros(2, "int32"))
    wav, compressed = _sounds()
    texts = [entry.metadata["keras_gates"] for entry in entries]
    return {
        "tflite": Reader(unsealed, mutate_words, _read),
        "metadata": Reader(texts, mutate_json, _metadata(entries)),
        "csv": Reader([table], mutate_cells, lambda path: list(read_rows(path)) and None, ".csv"),
        "table": Reader([table, named], mutate_cells, lambda path: read_table(path) and None, ".csv"),
        "xlsx": Reader([workbook], mutate_archive, lambda path: read_table(path) and None, ".xlsx"),
        "parquet": Reader([parquet], mutate_header, lambda path: read_table(path) and None, ".parquet"),
        "wav": Reader([wav], mutate_header, lambda path: read_wav(path) and None, ".wav"),
        "sound": Reader(compressed, mutate_header, lambda path: read_wav(path) and None, ".flac"),
        "npy": Reader([array], mutate_npy, lambda path: read_arrays(Path(path)) and None, ".npy"),
        "npz": Reader([archive], mutate_archive, lambda path: read_arrays(Path(path)) and None, ".npz"),
        "seal": Reader(files, mutate_words, _sealed(set(files))),
        "litert": Reader(unsealed, mutate_words, _in_litert, inputs=500, seconds=5, may_crash=True),
    }


def damaged(reader: Reader, name: str, seed: int, number: int) -> bytes:
    """Return one damaged input, the same for the same number."""
    chance = random.Random(f"{name} {seed} {number}")
    damage = reader.damage if chance.random() < 0.5 else mutate
    return damage(chance.choice(reader.good), chance)


def _answer(reader: Reader, data: bytes, path: str) -> str:
    if reader.suffix:
        Path(path).write_bytes(data)
    try:
        return reader.run(path if reader.suffix else data) or "read"
    except EdgeError:
        return "EdgeError"
    except Exception as error:
        return f"WRONG {type(error).__name__}: {error}"[:300].replace("\n", " ")


def _work(reader: Reader, name: str, seed: int, numbers: range, pipe: int, path: str) -> None:
    """In the worker: write a line per input, its seconds and the answer; end after the last."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")
    for number in numbers:
        data = damaged(reader, name, seed, number)
        signal.alarm(reader.seconds)  # not handled: it ends the worker wherever it hangs
        started = time.perf_counter()
        answer = _answer(reader, data, path)
        os.write(pipe, f"{time.perf_counter() - started:.3f} {answer}\n".encode("utf-8", "replace"))
    os._exit(0)


def throw(reader: Reader, name: str, count: int, seed: int) -> Counter:
    """Return how often each answer came; "WRONG …" is anything but a result or an `EdgeError`."""
    counts: Counter = Counter()
    number, slowest = 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "damaged" + reader.suffix))
        while number < count:
            numbers = range(number, min(number + reader.inputs, count))
            source, pipe = os.pipe()
            worker = os.fork()
            if worker == 0:
                os.close(source)
                _work(reader, name, seed, numbers, pipe, path)
            os.close(pipe)
            with os.fdopen(source, encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    seconds, answer = line.rstrip("\n").split(" ", 1)
                    slowest = max(slowest, float(seconds))
                    kind = answer.split(":")[0]
                    if kind.startswith("WRONG") and not counts[kind]:
                        print(name, number, answer, file=sys.stderr)
                    counts[kind] += 1
                    number += 1
            status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
            if status:
                crash = "took too long" if status == -signal.SIGALRM else f"crashed with {status}"
                kind = crash if reader.may_crash else f"WRONG {crash}"
                if not counts[kind]:
                    print(name, number, kind, file=sys.stderr)
                counts[kind] += 1
                number += 1
    print(f"{name:9}", dict(counts.most_common()), f"slowest {slowest:.2f} s", flush=True)
    return counts


def main() -> int:
    """Run all of it; the exit status is 1 if anything but an EdgeError was raised, or a reader crashed or did not end."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, nargs="+", help="good .tflite files of keras_gates.export")
    parser.add_argument("--count", type=int, default=2000, help="inputs for each reader")
    parser.add_argument("--only", nargs="+", help="readers to test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the counts here; readers that were not run keep theirs")
    options = parser.parse_args()
    readers = readers_of([path.read_bytes() for path in options.file])
    counts = {}
    for name in options.only or readers:
        counts[name] = throw(readers[name], name, options.count, options.seed)
        if options.json:
            known = json.loads(options.json.read_text()) if options.json.exists() else {}
            entry = {"inputs": options.count, "seed": options.seed, **counts[name]}
            options.json.write_text(json.dumps({**known, name: entry}, indent=1) + "\n")
    return int(any(key.startswith("WRONG") for count in counts.values() for key in count))


if __name__ == "__main__":
    sys.exit(main())
