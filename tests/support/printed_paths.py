"""Paths in what a program printed."""

import re
from pathlib import Path

_ENDING = re.compile(r"\.(keras|tflite|html|md|json|txt|png|csv|npy|c|h)$")


def paths_in(text):
    """The words that look like a path: with a slash between names, or with the ending of a file."""
    text = re.sub(r"\w+://\S+", " ", text)
    words = re.split(r"[\s,;:()\[\]`'\"│┃=]+", text)
    words = [word.rstrip(".") for word in words]
    return [
        word
        for word in words
        if _ENDING.search(word) or (re.search(r"[^\W\d]/|/[^\W\d]", word) and not re.fullmatch(r"\w+/\w+", word))
    ]


def missing(text, *folders):
    """The printed paths that exist neither as they are nor in one of the folders, and how many paths there are."""
    paths = paths_in(text)
    places = [Path(), *map(Path, folders)]
    return [path for path in paths if not any((place / path).exists() for place in places)], len(paths)
