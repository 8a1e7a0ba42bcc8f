"""keras_gates: an LSTM for Keras 3 whose four gates (learn, forget, remember, use) are named Keras sublayers.

Importing the package registers every class, those of the model zoo included, so that `keras.models.load_model` finds them: now
if Keras is imported already, otherwise as soon as it is. On a device without Keras the same import gives the edge runtime.
"""

from __future__ import annotations

from typing import Any

from keras_gates import _registration

__all__ = sorted(_registration.MODULE_OF)


def __getattr__(name: str) -> Any:
    return _version() if name == "__version__" else _registration.load(name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_registration.PACKAGES, "__version__"])


def _version() -> str:
    # Imported here: importlib.metadata takes a third of the command line's start-up time.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("keras-gates")
    except PackageNotFoundError:
        return "unknown"


_registration.register_with_keras()
