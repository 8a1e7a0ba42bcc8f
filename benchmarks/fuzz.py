"""Pass damaged files to everything that reads files on the device, and count the results.

    python benchmarks/fuzz.py out/model.tflite --count 100000

Every input is a copy of a good one with bytes flipped, overwritten, cut off, doubled or moved; half of them are damaged where
their structure is: an offset, length or scalar of the flatbuffer, an entry of the metadata's JSON, a size in the header of
a WAV or NPY, a member of an NPZ, a cell of a CSV. Reading must end in a result
or in an `EdgeError`; anything else is printed and makes the exit status 1. What `keras_gates.edge.tflite.read` lets pass
also runs in LiteRT, in a forked subprocess: a crash there is what `EdgeModel(probe=…)` detects, and is only counted.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import struct
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.modules["keras"] = None  # the device has none, and forking a process that loaded TensorFlow is slow

import numpy as np

from keras_gates.cli.inputs import read_arrays, read_rows
from keras_gates.edge import EdgeError
from keras_gates.edge.description import describe
from keras_gates.edge.runtime import Runtime
from keras_gates.edge.sound import read_wav
from keras_gates.edge.tflite import read, seal

_WORDS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x01\0\0\0", b"\0\0\0\x80", b"nan,", b"1e99"]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """A damaged copy."""
    damaged = bytearray(data)
    if chance.random() < 0.1:
        return bytes(damaged[: chance.randrange(len(damaged))])
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at, kind = chance.randrange(len(damaged)), chance.random()
        if kind < 0.35:
            damaged[at] = chance.randrange(256)
        elif kind < 0.65:
            damaged[at] ^= 1 << chance.randrange(8)
        elif kind < 0.85:
            at &= ~3
            damaged[at : at + 4] = chance.choice(_WORDS)
        else:
            length = chance.randrange(1, 32)
            damaged[at : at + chance.choice((0, length))] = damaged[at : at + length] * chance.randrange(3) or b"\0"
    return bytes(damaged)


def mutate_words(data: bytes, chance: random.Random) -> bytes:
    """A flatbuffer in which aligned words that look like offsets, lengths or small numbers have other such values."""
    words = np.frombuffer(data[: len(data) & ~3], "<i4").copy()
    likely = np.flatnonzero((np.abs(words.astype("int64")) < len(data)) & (words != 0))
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = int(chance.choice(likely))
        word = int(words[at])
        other = int(words[int(chance.choice(likely))])
        options = (word + chance.choice((-4, -1, 1, 4, 8)), -word, word * 2, word << 16, other, len(data) - at * 4, 0)
        words[at] = np.int64(chance.choice(options)).astype("<i4")
    return words.tobytes() + data[len(data) & ~3 :]


_VALUES = (None, True, 0, -1, 1e308, 2**70, "", "x", [], [[]], {}, {"name": []}, [None], float("nan"))


def mutate_json(data: bytes, chance: random.Random) -> bytes:
    """Metadata with entries removed, doubled, exchanged or of another type."""
    entry = json.loads(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = entry
        while True:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(place[key], (dict, list)) and place[key] and chance.random() < 0.7:
                place = place[key]
                continue
            kind = chance.random()
            if kind < 0.2:
                del place[key]
            elif kind < 0.4:
                place[key] = place[chance.choice(keys)]
            elif kind < 0.5 and isinstance(place, list):
                place.append(place[key])
            else:
                place[key] = chance.choice(_VALUES)
            break
    return json.dumps(entry).encode()


_CELLS = ("", '"', '"1', "nan", "inf", "1e999", "\xff", "\0", "1;2", "1\r", " 1 ", "0x10", "1_000", "\xef\xbb\xbf1")


def mutate_cells(data: bytes, chance: random.Random) -> bytes:
    """A CSV with cells emptied, quoted, of another type, or rows of another length."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(chance.choice((1, 1, 2, 6))):
        row = chance.choice(rows)
        at = chance.randrange(len(row))
        row[at : at + chance.choice((0, 1, 1))] = [chance.choice(_CELLS).encode("latin-1")]
    return b"\n".join(b",".join(row) for row in rows)


def mutate_header(data: bytes, chance: random.Random) -> bytes:
    """A WAV or NPY whose header has other sizes, formats or text."""
    damaged = bytearray(data)
    at = chance.randrange(0, min(len(damaged), 128) - 8)
    kind = chance.random()
    if kind < 0.4:
        damaged[at : at + 2] = struct.pack("<H", chance.choice((0, 1, 2, 3, 8, 16, 24, 32, 64, 255, 65534, 65535)))
    elif kind < 0.7:
        damaged[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 7, len(data), 2**31 - 1, 2**31, 2**32 - 1)))
    else:
        damaged[at : at + 1] = chance.choice((b"9", b"-", b"(", b")", b",", b"'", b"O", b"f", b" ", b"\n"))
    return bytes(damaged)


_STRUCTURED = {
    "tflite": mutate_words,
    "tflite in LiteRT": mutate_words,
    "metadata": mutate_json,
    "csv": mutate_cells,
    "wav": mutate_header,
    "npy": mutate_header,
    "npz": mutate_header,
}


def _read(data: bytes) -> None:
    describe(read(data))


def _metadata(text: bytes, file: object) -> None:
    from dataclasses import replace

    describe(replace(file, metadata={"keras_gates": text}))


def _through_file(function: Callable[[str], object], suffix: str, folder: str) -> Callable[[bytes], None]:
    path = Path(folder, "damaged" + suffix)

    def run(data: bytes) -> None:
        path.write_bytes(data)
        function(str(path))

    return run


def _in_litert(data: bytes) -> str:
    """Run the file in a forked subprocess and return how that ended."""
    file = read(data)
    description = describe(file)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.alarm(30)
        try:
            runtime = Runtime(data, file, description)
            runtime.run([np.ones(port.tensor.shape, port.tensor.dtype) for port in description.inputs])
            os._exit(0)
        except EdgeError:
            os._exit(3)
        except BaseException:
            os._exit(4)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "ran", 3: "EdgeError from LiteRT"}.get(status, f"child ended with {status}")


def main() -> int:
    """Run all of it; the exit status is 1 if anything but an EdgeError was raised."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, nargs="+", help="good .tflite files of keras_gates.export")
    parser.add_argument("--count", type=int, default=2000, help="inputs for each cheap reader")
    parser.add_argument("--runs", type=int, default=200, help="damaged .tflite files to run in LiteRT")
    parser.add_argument("--only", nargs="+", help="readers to test: tflite, metadata, csv, wav, npy, npz, litert, seal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the counts here")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    files = [path.read_bytes() for path in options.file]
    unsealed = [data.replace(b'{"digest"', b'{"digesd"') for data in files]
    entries = [read(data) for data in files]
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(0).integers(-999, 999, 300, "int16").tobytes())
    array = io.BytesIO()
    np.save(array, np.ones((4, 3), "float32"))
    archive = io.BytesIO()
    np.savez(archive, events=np.ones((4, 3), "float32"), other=np.zeros(2, "int32"))
    table = b"a,b,c\n" + b"\n".join(b"0.25,-1.5,3e2" for _ in range(12)) + b"\n"
    with tempfile.TemporaryDirectory() as folder:
        readers = {
            "tflite": (unsealed, _read),
            "metadata": (
                [entry.metadata["keras_gates"] for entry in entries],
                lambda text: _metadata(text, chance.choice(entries)),
            ),
            "csv": ([table], _through_file(lambda path: list(read_rows(path)), ".csv", folder)),
            "wav": ([sound.getvalue()], _through_file(read_wav, ".wav", folder)),
            "npy": ([array.getvalue()], _through_file(lambda path: read_arrays(Path(path)), ".npy", folder)),
            "npz": ([archive.getvalue()], _through_file(lambda path: read_arrays(Path(path)), ".npz", folder)),
        }
        only = options.only or [*readers, "litert", "seal"]
        counts = {
            name: _throw(name, good, reader, options.count, chance)
            for name, (good, reader) in readers.items()
            if name in only
        }
    if "litert" in only:
        counts["tflite in LiteRT"] = _throw("tflite in LiteRT", unsealed, _in_litert, options.runs, chance)
    if "seal" in only:
        counts["seal"] = _throw("seal", files, _sealed, options.count // 10, chance)
    if options.json:
        options.json.write_text(json.dumps({name: dict(count) for name, count in counts.items()}, indent=1) + "\n")
    return int(any(key.startswith("WRONG") for count in counts.values() for key in count))


def _sealed(data: bytes) -> str:
    """A damaged sealed file must be told from a good one."""
    try:
        sealed = read(data).sealed
    except EdgeError:
        return "refused by read"
    if sealed and seal(data) == data and data not in _GOOD:
        raise AssertionError("damage under a seal that holds")
    return f"sealed: {sealed}"


_GOOD: set[bytes] = set()


def _throw(
    name: str, good: list[bytes], reader: Callable[[bytes], object], count: int, chance: random.Random
) -> Counter:
    counts: Counter = Counter()
    _GOOD.update(good)
    slowest = 0.0
    for _ in range(count):
        damage = _STRUCTURED.get(name, mutate) if chance.random() < 0.5 else mutate
        data = damage(chance.choice(good), chance)
        started = time.perf_counter()
        try:
            counts[reader(data) or "read"] += 1
        except EdgeError:
            counts["EdgeError"] += 1
        except Exception as error:
            kind = f"WRONG {type(error).__name__}"
            if not counts[kind]:
                print(kind, error, data[:200], file=sys.stderr)
            counts[kind] += 1
        slowest = max(slowest, time.perf_counter() - started)
    counts[f"slowest {slowest:.2f} s"] = 1
    print(f"{name:16}", dict(counts.most_common()), flush=True)
    return counts


if __name__ == "__main__":
    sys.exit(main())
