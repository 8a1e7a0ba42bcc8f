"""Arguments of the wrong type, named by one sentence before a public function runs. Nothing but `_errors` is imported."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from keras_gates._errors import WrongType

_Function = TypeVar("_Function", bound=Callable)
_WORDS: dict[Any, str] = {
    int: "a whole number", float: "a number", str: "a text", bytes: "bytes", type(None): "None", dict: "a dict",
    type: "a class",
}  # fmt: skip
_SEVERAL = (collections.abc.Sequence, collections.abc.Iterable, list, tuple)


def typed(function: _Function, error: type[Exception] = WrongType, own: Sequence[str] = ()) -> _Function:
    """Make a function, or the constructor and public methods of a class, check arguments against their annotations.

    Only what has one reading is checked: numbers, texts, paths, mappings, sequences of these, functions, models and classes of
    this package. `Any`, `bool`, arrays, and annotations that cannot be evaluated when the function is called are not. A text
    passes for a sequence of texts, and anything that can be iterated for a sequence.

    Args:
        function: A function or class whose annotations are texts (`from __future__ import annotations`).
        error: What a wrong type raises.
        own: Names of arguments that the function checks itself, because it has more to say.

    Example:

    >>> @typed
    ... def half(number: int) -> float:
    ...     return number / 2
    >>> half("3")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    WrongType: half: number must be a whole number, got '3' (str).
    """
    if isinstance(function, type):
        for name, method in list(vars(function).items()):
            if name.startswith("_") and name not in ("__init__", "__getitem__"):
                continue
            if inspect.isfunction(method):
                setattr(function, name, typed(method, error, own))
            elif isinstance(method, classmethod):
                setattr(function, name, classmethod(typed(method.__func__, error, own)))
        return function
    signature = inspect.signature(function)
    if all(each.annotation in ("Any", each.empty) for each in signature.parameters.values()):
        return function
    places = list(signature.parameters)
    ours = {name: each for name, each in signature.parameters.items() if name not in own}

    @functools.cache  # not at import: the names in an annotation may be those of modules that are still imported
    def hints() -> dict[str, Any]:
        every = {name: _hint(parameter, function) for name, parameter in ours.items()}
        return {name: hint for name, hint in every.items() if hint is not Any}

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        known = hints()
        for name, value in [*zip(places, args), *kwargs.items()]:
            if name in known and not _fits(value, known[name]):
                caller = function.__qualname__.removesuffix(".__init__").replace(".__getitem__", "[…]")
                raise error(f"{caller}: {name} must be {_words(known[name])}, got {_shown(value)}.")
        return function(*args, **kwargs)

    return typing.cast(_Function, checked)


def typed_with(error: type[Exception] = WrongType, own: Sequence[str] = ()) -> Callable[[_Function], _Function]:
    """Return `typed` with another exception than `WrongType`, or without some of the arguments."""
    return lambda function: typed(function, error, own)


def real(value: Any, name: str, caller: str) -> float:
    """Return a number as it is.

    Args:
        value: What the caller was given.
        name, caller: The argument and its function, for the error.

    Raises:
        WrongType: It is no number.
    """
    if not _fits(value, float):
        raise WrongType(f"{caller}: {name} must be a number, got {_shown(value)}.")
    return value


def _shown(value: Any) -> str:
    text = f"{value!r:.60}".partition("\n")[0]
    return f"{text} ({type(value).__name__})"


def _hint(parameter: inspect.Parameter, function: Callable) -> Any:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or not isinstance(parameter.annotation, str):
        return Any
    alone = types.SimpleNamespace(__annotations__={"hint": parameter.annotation})
    try:
        hint = typing.get_type_hints(alone, inspect.unwrap(function).__globals__)["hint"]
    except Exception:  # imported for type checkers only
        return Any
    return hint if parameter.default is not None or _fits(None, hint) else hint | None


def _parts(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, or the type itself."""
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_is(value, part) for part in _parts(hint))


def _is(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (None, type(None)):
        return value is None
    if origin is int:
        return isinstance(value, numbers.Integral) or (hasattr(value, "__index__") and not isinstance(value, type))
    if origin is float:
        return isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
    if origin in _SEVERAL:
        several = isinstance(value, collections.abc.Iterable) and not isinstance(value, bytes | collections.abc.Mapping)
        if isinstance(value, str):
            return inner[:1] == (str,) or not inner
        listed = isinstance(value, list | tuple) and inner
        return (
            several
            and getattr(value, "shape", None) != ()
            and all(_fits(x, inner[0]) for x in (value if listed else ()))
        )
    if origin in (collections.abc.Mapping, dict):
        return isinstance(value, collections.abc.Mapping)
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is type:
        return isinstance(value, type)
    if origin is Any or not isinstance(origin, type) or origin is bool:
        return True
    if origin.__module__ == "numpy":
        return hasattr(value, "__array__") or isinstance(value, list | tuple)
    return isinstance(value, origin)


def _words(hint: Any) -> str:
    words = [_word(part) for part in _parts(hint)]
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _word(hint: Any) -> str:
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in _SEVERAL:
        of: dict[Any, str] = {int: " of whole numbers", float: " of numbers", str: " of texts"}
        return f"a list{of.get(inner[0] if inner else None, '')}"
    if origin is collections.abc.Mapping:
        return "a dict"
    if origin is collections.abc.Callable:
        return "a function"
    name = getattr(origin, "__name__", str(origin))
    if origin.__module__.startswith("keras."):
        name = "Keras model"
    article = "an" if name[0] in "AEIOU" else "a"
    return (
        "None"
        if origin is None
        else _WORDS.get(origin, "a path" if name in ("Path", "PathLike") else f"{article} {name}")
    )
