"""The common base class of this package's own exceptions. It imports nothing, so that the edge runtime can use it."""

from __future__ import annotations


class GatesError(Exception):
    """The base class of the exceptions that keras_gates defines: `except keras_gates.GatesError` catches each of them.

    Each is also one of Python's own, so that `except ValueError` keeps working: `EdgeError`, `InvalidArgument` and the zoo's
    `UserError` are a `ValueError`, `ExportError` is a `RuntimeError`.

    Example:

    >>> try:
    ...     keras_gates.EdgeModel("there/is/none.tflite")
    ... except keras_gates.GatesError as error:
    ...     print(type(error).__name__)
    EdgeError
    """


class InvalidArgument(GatesError, ValueError):
    """An argument that does not fit: the message says what was expected, what was given and what to do."""


class WrongType(InvalidArgument, TypeError):
    """An argument of another type than the function takes; `except TypeError` and `except ValueError` catch it."""


class UnknownName(InvalidArgument, KeyError):
    """A name that is not among those that there are; `except KeyError` and `except ValueError` catch it."""

    __str__ = ValueError.__str__  # that of KeyError would put the sentence in quotation marks
