"""keras_gates: an LSTM for Keras 3 whose four gates (learn, forget, remember, use) are named Keras sublayers.

Importing the package registers every class, those of the model zoo included, so that `keras.models.load_model` finds them: now
if Keras is imported already, otherwise as soon as it is. On a device without Keras the same import gives the edge runtime.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from keras_gates import _registration

try:
    __version__ = version("keras-gates")
except PackageNotFoundError:
    __version__ = "unknown"

__all__ = sorted(_registration.MODULE_OF)


def __getattr__(name: str) -> Any:
    return _registration.load(name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_registration.PACKAGES, "__version__"])


_registration.register_with_keras()
