"""Texts that matplotlib can draw: dollar signs that are no formula, and characters that no installed font has."""

from __future__ import annotations

import functools
import unicodedata

# Fonts with many scripts, in the order in which they are tried; matplotlib takes the first that has a character.
FALLBACKS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "WenQuanYi Micro Hei",
    "IPAexGothic",
    "MS Gothic",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Malgun Gothic",
    "Noto Emoji",
    "Symbola",
)
INVISIBLE = ("Cc", "Cf", "Cn", "Co", "Cs")  # categories of characters: control, joiners, private, …


def plain(text: object) -> str:
    """Return a text as matplotlib shows it: `$` is no formula, and each character is one that a font has.

    An emoji without a font is given by its name ("bear face"), any other character by a square.
    """
    shown = [_character(character) for character in str(text)]
    words = "".join(f" {one} " if len(one) > 1 else one for one in shown)
    is_named = any(len(one) > 1 for one in shown)
    return (" ".join(words.split()) if is_named else words).replace("$", r"\$")


def families() -> list[str]:
    """Return the font families to draw with: matplotlib's own, then those of `FALLBACKS` that are installed."""
    import matplotlib

    return [*matplotlib.rcParams["font.family"], *_installed()]


@functools.cache
def _installed() -> tuple[str, ...]:
    from matplotlib import font_manager

    known = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in FALLBACKS if name in known)


def _character(character: str) -> str:
    if character.isascii():
        return character
    if unicodedata.category(character) in INVISIBLE or "\ufe00" <= character <= "\ufe0f":
        return ""
    if any(_has(family, character) for family in families()):
        return character
    name = unicodedata.name(character, "")
    return name.lower() if unicodedata.category(character) == "So" and name else "□"


@functools.cache
def _has(family: str, character: str) -> bool:
    from matplotlib import font_manager

    path = font_manager.findfont(font_manager.FontProperties(family=[family]))
    return bool(font_manager.get_font(path).get_char_index(ord(character)))
