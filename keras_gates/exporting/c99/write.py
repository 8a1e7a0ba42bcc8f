"""`write_c99`: a ``.tflite`` as one C99 file that needs no runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keras_gates._files import write_text
from keras_gates.edge.packed import unpacked
from keras_gates.exporting.c99.frontends import Trigger
from keras_gates.exporting.c99.graph import Graph, Node, graph_of
from keras_gates.exporting.c99.projects import project_files
from keras_gates.exporting.c99.reference import answers, random_inputs
from keras_gates.exporting.c99.selftest import selftest
from keras_gates.exporting.c99.source import identifier, source_of
from keras_gates.exporting.report import ExportError

ARITHMETICS = ("litert", "tflm")
_GOLDEN = 2
_TRIGGER = Trigger()


@dataclass(frozen=True)
class C99:
    """What `write_c99` wrote.

    Attributes:
        files: Paths of the files; for "make" ``NAME.h``, ``NAME.c``, ``selftest.c`` and ``Makefile``.
        name: Prefix of every public name.
        streams: Whether there is ``NAME_push``; otherwise the model runs whole sequences only.
        listens: Whether there is ``NAME_listen``, which takes 16-bit sound.
    """

    files: tuple[Path, ...]
    name: str
    streams: bool
    listens: bool = False


def write_c99(
    data: bytes,
    out: str | Path,
    *,
    name: str = "model",
    arithmetic: str = "auto",
    trigger: Trigger = _TRIGGER,
    project: str = "make",
) -> C99:
    """Write C99 that computes what a ``.tflite`` file computes, without a runtime.

    The answers of an integer file are those of the runtime bit for bit. "auto" takes LiteRT, because its runtime is the one
    that every export is verified with, and its polynomials are more exact than TFLM's tables; for what LiteRT does not run
    (16-bit LSTMs), TFLM.

    Args:
        data: Bytes of the file.
        out: Output folder; created if it does not exist.
        name: Name of the two main files and prefix of every public name.
        arithmetic: "auto", "litert" (LiteRT's reference kernels, ``BUILTIN_REF``) or "tflm" (TensorFlow Lite Micro, and
            CMSIS-NN).
        trigger: When ``NAME_listen`` reports a class, for a file with a log-mel front end.
        project: Layout of the folder: "make", "qemu" (an emulated Cortex-M), "arduino", "platformio", "esp-idf" or "zephyr".

    Returns:
        The paths, and what the C can do.

    Raises:
        ExportError: The file has an operator or type without C; the message names it. Nothing is written.
        ValueError: `arithmetic` has an unknown value.

    Example:

    >>> c99 = write_c99(Path("out/model.tflite").read_bytes(), "out/c99")  # doctest: +SKIP
    >>> [path.name for path in c99.files]  # doctest: +SKIP
    ['model.h', 'model.c', 'selftest.c', 'Makefile']
    """
    if arithmetic not in ("auto", *ARITHMETICS):
        raise ValueError(f"c99: arithmetic must be of auto, {', '.join(ARITHMETICS)}; got {arithmetic!r}.")
    name = identifier(name)
    if name in ("selftest", ""):
        raise ExportError(f"the C cannot be named {name!r}, that is its self-test; pass another name.")
    graph = graph_of(data)
    if arithmetic == "auto":
        arithmetic = arithmetic_of(graph)
    if arithmetic == "tflm" and any(node.kind == "WHILE" for node in graph.nodes):
        # it runs some, but has no tensors whose shape changes, and answers wrongly where a list grows
        raise ExportError(
            "TFLM does not run every loop: take arithmetic='litert' (--arithmetic litert), or export unrolled."
        )
    source = source_of(graph, name, arithmetic, trigger)
    samples = random_inputs(graph, _GOLDEN)
    runtime = {"litert": "LiteRT (BUILTIN_REF)", "tflm": "TFLM"}[arithmetic]
    texts = project_files(
        project, source, selftest(source, runtime, samples, answers(unpacked(data), graph, arithmetic, samples))
    )
    out = Path(out)
    for path, text in texts.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(out / path, text)
    return C99(tuple(out / path for path in texts), name, source.streams, source.listens)


def arithmetic_of(graph: Graph) -> str:
    """Return what "auto" means for a graph: "litert", or "tflm" if only TFLM runs it."""
    return "tflm" if any(_only_tflm(node) for node in graph.nodes) else "litert"


def _only_tflm(node: Node) -> bool:
    return node.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM" and node.input(0).dtype == "int16"
