"""Broadcasting and moving items in C: loops of at most three or four levels, with axes merged where they run alike."""

from __future__ import annotations

import math

import numpy as np

from keras_gates.exporting.c99.graph import Node, Value
from keras_gates.exporting.c99.program import Program, numbers
from keras_gates.exporting.c99.schedule import slice_ranges
from keras_gates.exporting.report import ExportError

_BYTES = {"int8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4}


def contiguous(shape: tuple[int, ...]) -> list[int]:
    """Return the strides of an array without gaps, in items."""
    return [math.prod(shape[place + 1 :]) for place in range(len(shape))]


def pair(program: Program, node: Node) -> str:
    """Define how two operands broadcast; return the address of the struct."""
    shape = program.shape(node.output)
    strides = []
    for value in (node.input(0), node.input(1)):
        own = program.shape(value)
        padded = (1,) * (len(shape) - len(own)) + own
        strides.append([0 if size == 1 else step for size, step in zip(padded, contiguous(padded))])
    n, (a, b) = merged(list(shape), strides, 3, node.kind)
    return program.struct(f"pair{node.number}", "pair_t", f"{numbers(n)}, {numbers(a)}, {numbers(b)}")


def merged(sizes: list[int], strides: list[list[int]], levels: int, kind: str) -> tuple[list[int], list[list[int]]]:
    """Return sizes and strides of exactly `levels` axes that visit the same items in the same order.

    Args:
        sizes: Sizes of the axes.
        strides: Per array its strides.
        levels: Number of axes to return.
        kind: Operator, for the error.

    Raises:
        ExportError: It takes more levels.
    """
    axes: list[tuple[int, list[int]]] = []
    for place, size in enumerate(sizes):
        steps = [array[place] for array in strides]
        if size == 1:
            continue
        if axes and all(before == size * step for before, step in zip(axes[-1][1], steps)):
            axes[-1] = (axes[-1][0] * size, steps)
        else:
            axes.append((size, steps))
    if len(axes) > levels:
        raise ExportError(f"the C has {kind} over at most {levels} separate axes, this file has {len(axes)}.")
    axes = [(1, [0] * len(strides))] * (levels - len(axes)) + axes
    if axes[-1][0] == 1:
        axes[-1] = (1, [1] * len(strides))
    return [size for size, _ in axes], [[steps[i] for _, steps in axes] for i in range(len(strides))]


def _copy(
    program: Program,
    node: Node,
    name: str,
    sizes: list[int],
    x: tuple[Value, int, list[int]],
    y: tuple[Value, int, list[int]],
) -> None:
    """Append a copy; source and target are (tensor, offset, strides)."""
    n, (from_, to) = merged(sizes, [x[2], y[2]], 4, node.kind)
    model = program.struct(f"copy{name}", "copy_t", f"{numbers(n)}, {numbers(from_)}, {numbers(to)}")
    places = f"{program.place(x[0])} + {x[1]}, {program.place(y[0])} + {y[1]}"
    program.call(node, f"{program.use('copy')}({places}, {_BYTES[x[0].dtype]}, {model});")


def strided_slice(program: Program, node: Node) -> None:
    """STRIDED_SLICE."""
    x, y = node.input(0), node.output
    check_same_quantization(node, x)
    shape = program.shape(x)
    ranges = [r if cut == full else range(cut) for r, cut, full in zip(slice_ranges(node), shape, x.shape)]
    steps = contiguous(shape)
    sizes = [len(r) for r in ranges]
    offset = sum(r.start * step for r, step in zip(ranges, steps))
    _copy(
        program,
        node,
        str(node.number),
        sizes,
        (x, offset, [r.step * step for r, step in zip(ranges, steps)]),
        (y, 0, contiguous(tuple(sizes))),
    )


def cut(program: Program, node: Node) -> None:
    """SLICE, and SPLIT into equal parts."""
    x = node.input(1 if node.kind == "SPLIT" else 0)
    shape = program.shape(x)
    steps = contiguous(shape)
    at = 0
    for place, y in enumerate(node.outputs):
        own = program.shape(y)
        if node.kind == "SPLIT":
            axis = int(node.constant(0).reshape(-1)[0]) % len(shape)
            offset, at = at * steps[axis], at + own[axis]
        else:
            offset = sum(int(n) * step for n, step in zip(node.constant(1).reshape(-1), steps))
        _copy(program, node, f"{node.number}_{place}", list(own), (x, offset, steps), (y, 0, contiguous(own)))


def reverse(program: Program, node: Node) -> None:
    """REVERSE_V2."""
    x, y = node.input(0), node.output
    shape = program.shape(x)
    axes = {int(axis) % len(shape) for axis in node.constant(1).reshape(-1)}
    steps = contiguous(shape)
    offset = sum((shape[axis] - 1) * steps[axis] for axis in axes)
    signed = [-step if place in axes else step for place, step in enumerate(steps)]
    _copy(program, node, str(node.number), list(shape), (x, offset, signed), (y, 0, steps))


def concatenate(program: Program, node: Node) -> None:
    """CONCATENATION."""
    y = node.output
    shape = program.shape(y)
    axis, at, steps = node.options["axis"] % len(shape), 0, contiguous(shape)
    if node.options["fusedActivationFunction"]:
        raise ExportError("the C has no CONCATENATION with an activation; use a layer of its own for it.")
    for place in range(len(node.inputs)):
        x = node.input(place)
        check_same_quantization(node, x)
        own = program.shape(x)
        _copy(
            program,
            node,
            f"{node.number}_{place}",
            list(own),
            (x, 0, contiguous(own)),
            (y, at * steps[axis], steps),
        )
        at += own[axis]


def pack(program: Program, node: Node) -> None:
    """PACK: operands side by side along a new axis."""
    y = node.output
    shape = program.shape(y)
    axis, steps = node.options["axis"] % len(shape), contiguous(shape)
    for place in range(len(node.inputs)):
        x = node.input(place)
        check_same_quantization(node, x)
        own = program.shape(x)
        rest = [step for i, step in enumerate(steps) if i != axis]
        source, target = (x, 0, contiguous(own)), (y, place * steps[axis], rest)
        _copy(program, node, f"{node.number}_{place}", list(own), source, target)


def unpack(program: Program, node: Node) -> None:
    """UNPACK: the slices along an axis."""
    x = node.input(0)
    shape = program.shape(x)
    axis, steps = node.options["axis"] % len(shape), contiguous(shape)
    rest = [step for i, step in enumerate(steps) if i != axis]
    for place, y in enumerate(node.outputs):
        own = program.shape(y)
        source, target = (x, place * steps[axis], rest), (y, 0, contiguous(own))
        _copy(program, node, f"{node.number}_{place}", list(own), source, target)


def pad(program: Program, node: Node) -> None:
    """PAD: the quantized zero around."""
    x, y = node.input(0), node.output
    check_same_quantization(node, x)
    steps, before = contiguous(program.shape(y)), node.constant(1)[:, 0].tolist()
    if x.dtype not in ("int8", "int16", "int32", "float32") or (x.dtype != "int8" and y.zero):
        raise ExportError(f"the C has PAD of int8, int16, int32 and float32 only, this file pads {x.dtype}.")
    program.call(node, f"memset({program.place(y)}, {y.zero}, {program.size(y)} * {_BYTES[x.dtype]});")
    offset = sum(int(n) * step for n, step in zip(before, steps))
    shape = program.shape(x)
    _copy(program, node, str(node.number), list(shape), (x, 0, contiguous(shape)), (y, offset, steps))


def gather(program: Program, node: Node) -> None:
    """GATHER; an index outside makes the call fail."""
    x, index, y = node.input(0), node.input(1), node.output
    check_same_quantization(node, x)
    shape, batch = x.shape, node.options.get("batchDims") or 0
    axis = node.options["axis"] % len(shape)
    if index.dtype != "int32":
        raise ExportError(f"the C has GATHER with int32 indices only, this file has {index.dtype}.")
    batches = math.prod(shape[:batch])
    fields = (
        batches,
        math.prod(shape[batch:axis]),
        shape[axis],
        math.prod(shape[axis + 1 :]) * _BYTES[x.dtype],
        program.size(index) // batches,
    )
    model = program.struct(f"gather{node.number}", "gather_t", numbers(fields)[1:-1])
    places = f"{program.place(x)}, {program.place(index)}, {program.place(y)}"
    program.call(node, f"if ({program.use('gather')}({model}, {places}))\n        return -1;")


def image_grid(node: Node) -> str:
    """Return a CONV_2D's sizes, kernel, strides, dilation and padding as the fields of its struct.

    Raises:
        ExportError: It is grouped.
    """
    _, *kernel, depth = node.input(1).shape
    if depth != node.input(0).shape[3]:
        raise ExportError("the C has no grouped CONV_2D; use separate convolutions.")
    return window(node, kernel)


def window(node: Node, kernel: list[int]) -> str:
    """Return sizes, kernel, strides, dilation and padding of a kernel that moves over an image, as fields of a struct.

    Args:
        node: A convolution or pooling.
        kernel: Height and width of its kernel.
    """
    x, y = node.input(0), node.output
    strides = node.options["strideH"], node.options["strideW"]
    dilation = [node.options.get(f"dilation{axis}Factor", 1) for axis in "HW"]
    before = [0, 0]
    if node.options["padding"] == 0:  # SAME
        for i in (0, 1):
            reach = (kernel[i] - 1) * dilation[i] + 1
            before[i] = max((y.shape[1 + i] - 1) * strides[i] + reach - x.shape[1 + i], 0) // 2
    sizes = ", ".join(map(str, (*x.shape[1:], *y.shape[1:])))
    return f"{sizes}, {', '.join(map(numbers, (kernel, strides, dilation, before)))}"


def axes_of(program: Program, node: Node) -> tuple[int, int, int]:
    """Return the items before, along and behind the axes over which an operator reduces.

    Raises:
        ExportError: They are not neighbours.
    """
    shape = program.shape(node.input(0))
    axes = sorted({int(axis) % len(shape) for axis in np.atleast_1d(node.constant(1)).reshape(-1)})
    if axes != list(range(axes[0], axes[-1] + 1)):
        raise ExportError(f"the C has {node.kind} over neighbouring axes only.")
    return math.prod(shape[: axes[0]]), math.prod(shape[axes[0] : axes[-1] + 1]), math.prod(shape[axes[-1] + 1 :])


def maximum(program: Program, node: Node) -> None:
    """REDUCE_MAX over one axis: of the whole tensor, or so far in a stream."""
    x, y = node.input(0), node.output
    check_same_quantization(node, x)
    outer, middle, inner = axes_of(program, node)
    if x.dtype not in ("int8", "int16", "float32"):
        raise ExportError("the C has REDUCE_MAX of int8, int16 or float32 only.")
    kind = "float" if x.dtype == "float32" else x.dtype
    lowest = "-FLT_MAX" if kind == "float" else f"{kind.upper()}_MIN"
    clear = f"for (int32_t i = 0; i < {outer * inner}; ++i)\n        ({program.place(y)})[i] = {lowest};"
    if node.number in program.schedule.running:
        program.resets.append(clear)
    else:
        program.call(node, clear)
    sizes = f"{outer}, {middle}, {inner}"
    program.call(node, f"{program.use('maximum_' + kind)}({program.place(x)}, {sizes}, {program.place(y)});")


def select(program: Program, node: Node) -> None:
    """SELECT between tensors of one type and scale."""
    values = [node.input(place) for place in range(3)]
    y = node.output
    sizes = [program.size(value) for value in values]
    if y.dtype not in _BYTES or any(size not in (1, program.size(y)) for size in sizes):
        raise ExportError("the C has SELECT with operands of one shape only.")
    for value in values[1:]:
        check_same_quantization(node, value)
    steps = program.array(f"steps{node.number}", [int(size > 1) for size in sizes], "int32_t")
    places = ", ".join(program.place(value) for value in (*values, y))
    kind = {"float32": "float", "bool": "int8"}.get(y.dtype, y.dtype)
    program.call(node, f"{program.use(f'select_{kind}')}({places}, {program.size(y)}, {steps});")


def check_same_quantization(node: Node, x: Value) -> None:
    """Check that an operator that moves or compares integers has the same scale in its input and output.

    Raises:
        ExportError: It has not.
    """
    y = node.output
    if x.dtype in ("int8", "int16") and len(x.scales) and (x.scales[0] != y.scales[0] or x.zero != y.zero):
        raise ExportError(f"{node.kind} between different quantizations; export again.")
