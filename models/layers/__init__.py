"""Keras layers of the zoo. Each name is imported at its first use, because the modules import Keras."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_gates.models.layers.alphabet import Alphabet
    from keras_gates.models.layers.logmel import AnotherVoice, LogMel
    from keras_gates.models.layers.votes import AfterTraining, PairVotes, WordVotes
    from keras_gates.models.layers.words import Words

__all__ = ["AfterTraining", "Alphabet", "AnotherVoice", "LogMel", "PairVotes", "WordVotes", "Words"]
_MODULES = {
    "AfterTraining": "votes",
    "Alphabet": "alphabet",
    "AnotherVoice": "logmel",
    "LogMel": "logmel",
    "PairVotes": "votes",
    "WordVotes": "votes",
    "Words": "words",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
