"""JAX: operations that XLA runs as a custom call in this process, and as ordinary operations in a program that leaves it.

`jax.jit` keeps what it has traced. So whether a program may hold the custom call is decided not when a function is traced but
when it is lowered, and only a primitive of our own can do that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir


def operation(name: str, here: Callable, elsewhere: Callable) -> Callable:
    """Return a function that runs `here`, and `elsewhere` in exported programs and on other processors than a CPU.

    Args:
        name: the primitive's name.
        here: Function of arrays and keyword options (hashable) that returns a list of arrays.
        elsewhere: likewise; its results have the same shapes.

    Returns:
        A function with the same arguments and results. It has no gradient, and `jax.vmap` takes the elements one after the other.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True

    def run(*arrays: Any, **options: Any) -> list[Any]:
        return primitive.bind(*arrays, **options)

    def shapes(*arrays: Any, **options: Any) -> list[Any]:
        structs = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]
        results = jax.eval_shape(lambda *arrays: here(*arrays, **options), *structs)
        return [jax.core.ShapedArray(result.shape, result.dtype) for result in results]

    def lowered(ctx: Any, *arrays: Any, **options: Any) -> Any:
        module = ctx.module_context
        leaves = module.lowering_parameters.for_export or tuple(module.platforms) != ("cpu",)
        return mlir.lower_fun(elsewhere if leaves else here, multiple_results=True)(ctx, *arrays, **options)

    def mapped(arrays: tuple, axes: tuple, **options: Any) -> tuple[list[Any], list[int]]:
        many = [jnp.moveaxis(array, axis, 0) for array, axis in zip(arrays, axes) if axis is not None]

        def one(some: list[Any]) -> list[Any]:
            of_element = iter(some)
            return run(*[array if axis is None else next(of_element) for array, axis in zip(arrays, axes)], **options)

        results = jax.lax.map(one, many)
        return results, [0] * len(results)

    primitive.def_impl(here)
    primitive.def_abstract_eval(shapes)
    mlir.register_lowering(primitive, lowered)
    batching.primitive_batchers[primitive] = mapped
    return run
