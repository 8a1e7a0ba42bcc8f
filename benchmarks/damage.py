"""Damaged copies of good files, for `benchmarks/fuzz.py`: bytes anywhere, or one thing that the format's structure holds."""

from __future__ import annotations

import copy
import io
import json
import random
import re
import struct
import zipfile

import numpy as np

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
                place[key] = copy.deepcopy(place[chance.choice(keys)])  # a list within itself is no JSON
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


_DESCR = (
    "'<f4'",
    "'>f8'",
    "'|O'",
    "'<U9'",
    "'|b1'",
    "'<M8[s]'",
    "'<c16'",
    "[('a', '<f4')]",
    "'|V3'",
    "7",
    "'<f3'",
    "None",
)
_SHAPES = (
    "()", "(12,)", "(4, 3, 1)", "(0, 3)", "(-4, -3)", "(4,)", "(3, 4.0)", "(99999999999, 9999999)", "(True, 12)", "7",
    "(4, " * 90 + "3" + ")" * 90, "(" + "9" * 5000 + ",)",
)  # fmt: skip


def mutate_npy(data: bytes, chance: random.Random) -> bytes:
    """An NPY whose header's dictionary has other values, of a length that fits; or a header with other bytes."""
    if chance.random() < 0.4:
        return mutate_header(data, chance)
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10 : 10 + length].decode("latin-1")
    for _ in range(chance.choice((1, 1, 2))):
        kind = chance.randrange(4)
        if kind == 0:
            header = re.sub(r"'descr': [^,]*", lambda _: f"'descr': {chance.choice(_DESCR)}", header, count=1)
        elif kind == 1:
            header = re.sub(r"'shape': \([^)]*\)", lambda _: f"'shape': {chance.choice(_SHAPES)}", header, count=1)
        elif kind == 2:
            header = header.replace(
                chance.choice(("False", "'descr'", "'shape'", "}", ",", "'")), chance.choice(("True", "", "'x'")), 1
            )
        else:
            header = header.rstrip("\n") + " " * chance.choice((1, 63, 9000)) + "\n"
    version = chance.choice((1, 1, 1, 2, 3, 9))
    size = struct.pack("<H" if version == 1 else "<I", len(header) & 0xFFFF)
    return data[:6] + bytes([version, 0]) + size + header.encode("latin-1") + data[10 + length :]


def mutate_archive(data: bytes, chance: random.Random) -> bytes:
    """A zip (NPZ, XLSX) with whole checksums whose members are damaged, renamed, doubled, left out or packed otherwise."""
    if chance.random() < 0.2:
        return mutate_header(data[-160:], chance).join((data[:-160], b""))  # the table of contents is at the end
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.randrange(len(members))
        name, content = members[at]
        kind = chance.random()
        if kind < 0.6 and content:
            change = (
                mutate_npy if name.endswith(".npy") else mutate_markup if name.endswith((".xml", ".rels")) else mutate
            )
            members[at] = name, change(content, chance)
        elif kind < 0.75:
            members[at] = (
                chance.choice(("", "../x.npy", "a" * 300, "\x00", "x.txt", name.upper(), "ü/" + name)),
                content,
            )
        elif kind < 0.85:
            members.append((name, content))
        elif len(members) > 1:
            members.pop(at)
    out = io.BytesIO()
    with zipfile.ZipFile(
        out, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    ) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def mutate_markup(data: bytes, chance: random.Random) -> bytes:
    """An XML part with an attribute, a number, a tag or a reference of another value."""
    text = data.decode("utf-8", "replace")
    kind = chance.randrange(4)
    places = list(re.finditer((r'"[^"]*"', r"\d+", r"</?\w+", r">[^<]+<")[kind], text))
    if not places:
        return mutate(data, chance)
    place = chance.choice(places)
    other = (
        ('""', '"-1"', '"A0"', '"XFE1048577"', '"e"', '"99999999999"'),
        ("-1", "0", "99999999999999999999", "1e999", "x"),
        ("<", "</x", "<!--", "<c"),
        ("><", ">nan<", ">&lol;<", ">99999999<", ">\u0000<"),
    )[kind]
    return (text[: place.start()] + chance.choice(other) + text[place.end() :]).encode()
