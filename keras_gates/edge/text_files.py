"""Reads the text of a file: gzip, byte order marks, and the encoding that charset-normalizer guesses where it is not UTF-8."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from keras_gates.edge.optional import need
from keras_gates.edge.tflite import EdgeError

_ENCODINGS = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp932", "gb18030", "euc_kr", "big5"]
_FOREIGN = 0.3  # share of bytes beyond ASCII; with fewer, statistics guess Chinese for a degree sign


def content(path: Path) -> bytes:
    """Return the bytes of a file, without gzip.

    Raises:
        EdgeError: a damaged gzip file.
    """
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise EdgeError(f"{path} is a damaged gzip file ({error}); copy it again") from None


def decoded(raw: bytes, path: str | Path, notes: list[str] | None = None) -> str:
    """Return the text of a file: UTF-8, UTF-16 or UTF-32 with a byte order mark, or the encoding that charset-normalizer finds.

    Args:
        raw: content of the file.
        path: for the error.
        notes: gets a sentence if the encoding is not UTF-8.

    Raises:
        EdgeError: the file is not text.
    """
    if raw[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise EdgeError(
            f"{path} is an Excel or zip file under the name of a text file; name it .xlsx, or save it as CSV"
        )
    marks = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    encoding = next((name for mark, name in marks.items() if raw.startswith(mark)), "utf-8-sig")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            raise EdgeError(
                f"{path} starts as {encoding} but is damaged at byte {error.start}; save it again"
            ) from None
        text, encoding = _guessed(raw, path)
        if notes is not None:
            line = raw.count(b"\n", 0, error.start) + 1
            notes.append(f"not UTF-8 (line {line}): read as {encoding}; save it as UTF-8 if letters are wrong")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise EdgeError(f"{path}, line {line}: a zero byte; expected text, save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _guessed(raw: bytes, path: str | Path) -> tuple[str, str]:
    letters = [byte for byte in raw[:100_000] if byte > 127 or chr(byte).isalpha()]
    if sum(byte > 127 for byte in letters) < _FOREIGN * len(letters):
        try:
            return raw.decode("cp1252"), "cp1252"
        except UnicodeDecodeError:
            pass
    best = need("charset_normalizer", f"{path}, which is not UTF-8,").from_bytes(raw, cp_isolation=_ENCODINGS).best()
    if best is None:
        raise EdgeError(f"{path} is not text in UTF-8 or a known encoding; save it as UTF-8")
    return str(best), best.encoding
