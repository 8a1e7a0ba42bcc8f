"""CMSIS-NN beside the C: the LSTM and the dense layer of int8 files on random integers, on this processor or a Cortex-M4.

python benchmarks/c99_cmsis.py CMSIS-NN [FILE.tflite ...] [--core m4]

CMSIS-NN is a checkout of github.com/ARM-software/CMSIS-NN. Printed per layer: how many integers differ, after each time step.
On a Cortex-M4 (emulated) CMSIS-NN takes its functions with DSP instructions.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from keras_gates.exporting.c99.cores import CORES, Core, core_of
from keras_gates.exporting.c99.fixed_point import decompose, limits
from keras_gates.exporting.c99.graph import Graph, Node, graph_of
from keras_gates.exporting.c99.measure import linked
from keras_gates.exporting.c99.program import array
from keras_gates.exporting.c99.source import source_of

ROOT = Path(__file__).parents[1]
SOURCES = """LSTMFunctions/arm_lstm_unidirectional_s8 NNSupportFunctions/arm_nn_lstm_step_s8
NNSupportFunctions/arm_nn_lstm_calculate_gate_s8_s16 NNSupportFunctions/arm_nn_vec_mat_mul_result_acc_s8_s16
BasicMathFunctions/arm_elementwise_mul_s16_s8 BasicMathFunctions/arm_elementwise_mul_s16
BasicMathFunctions/arm_elementwise_mul_acc_s16
ActivationFunctions/arm_nn_activation_s16 NNSupportFunctions/arm_nntables FullyConnectedFunctions/arm_fully_connected_s8
FullyConnectedFunctions/arm_fully_connected_per_channel_s8 NNSupportFunctions/arm_nn_vec_mat_mult_t_s8
NNSupportFunctions/arm_nn_vec_mat_mult_t_per_ch_s8"""
LSTM = """
    {{
        enum {{ T = {steps}, I = {inputs}, H = {units} }};
        static int8_t x[T * I], y[T * H], h[H];
        static int16_t c[H], room[8 * H + I], temp1[H], temp2[H], cell[H];
        const cmsis_nn_lstm_params p = {{0, 1, T, I, H, {offset}, 1 << 30, -14, {to_cell}, {clip}, {power}, lstm{n}.hidden[0],
                                        lstm{n}.hidden[1], {zero}, {gates}}};
        cmsis_nn_lstm_context buffers = {{temp1, temp2, cell, 0}};
        fill(x, T * I);
        for (int32_t i = 0; i < H; ++i)
            h[i] = {zero};
        wrong += arm_lstm_unidirectional_s8(x, y, &p, &buffers) != ARM_CMSIS_NN_SUCCESS;
        int32_t differ = 0;
        for (int32_t t = 0; t < T; ++t) {{
            lstm_step_int8(&lstm{n}, x + t * I, h, c, room);
            for (int32_t i = 0; i < H; ++i)
                differ += h[i] != y[t * H + i];
        }}
        printf("LSTM {n}: %d of %d differ\\n", (int)differ, T * H);
    }}
"""
DENSE = """
    {{
        enum {{ ROWS_ = 64, I = {inputs}, U = {units} }};
        static int8_t x[ROWS_ * I], y[ROWS_ * U], z[ROWS_ * U];
        static int16_t room[I];
        static int32_t m[U], s[U];
        const cmsis_nn_context none = {{0, 0}};
        const cmsis_nn_fc_params p = {{{offset}, 0, {zero}, {{{low}, {high}}}}};
        const cmsis_nn_dims in = {{ROWS_, 1, 1, I}}, filter = {{I, 1, 1, U}}, out = {{ROWS_, 1, 1, U}};
        fill(x, ROWS_ * I);
        for (int32_t i = 0; i < U; ++i)
            m[i] = scales{n}[i][0], s[i] = scales{n}[i][1];
        {call}
        dense_int8(&dense{n}, x, ROWS_, room, z);
        int32_t differ = 0;
        for (int32_t i = 0; i < ROWS_ * U; ++i)
            differ += y[i] != z[i];
        printf("dense {n}: %d of %d differ\\n", (int)differ, ROWS_ * U);
    }}
"""
MAIN = """#include "model.c"
#include <stdio.h>
#include "arm_nnfunctions.h"
{arrays}
static void fill(int8_t *x, int32_t n)
{{
    static uint32_t random = 1;
    while (n-- > 0) {{
        random = random * 1664525u + 1013904223u;
        *x++ = (int8_t)(random >> 24);
    }}
}}
int main(void)
{{
    int wrong = 0;
{body}
    return wrong;
}}
"""


def lstm(node: Node) -> str:
    """Return C that compares an LSTM."""
    x, hidden, cell, n = node.input(0), node.input(18), node.input(19), node.number
    gates = []
    for place, letter in ((1, "f"), (0, "i"), (2, "c"), (3, "o")):  # in the order of CMSIS-NN's struct
        scales = ", ".join(f"lstm{n}.scales[{i}][0], lstm{n}.scales[{i}][1]" for i in (place, 4 + place)).split(", ")
        first = f"{scales[0]}, {scales[1]}, input{n}_{letter}, input_bias{n}_{letter}"
        second = f"{scales[2]}, {scales[3]}, recurrent{n}_{letter}, recurrent_bias{n}_{letter}"
        gates.append(f"{{{first}, {second}, 0, {'ARM_TANH' if letter == 'c' else 'ARM_SIGMOID'}}}")
    power = round(float(np.log2(cell.scale)))
    clip = node.options["cellClip"]
    clipped = int(min(np.float32(clip) / cell.scale, np.float32(32767))) if clip > 0 else 32767
    multiplier, shift = decompose(2.0**-30 / float(cell.scale))
    sizes = {"steps": x.shape[1], "inputs": x.shape[2], "units": hidden.shape[-1], "offset": -x.zero, "n": n}
    words = {"to_cell": f"{multiplier}, {shift}", "clip": clipped, "power": power, "zero": hidden.zero}
    return LSTM.format(**sizes, **words, gates=", ".join(gates))


def dense(node: Node) -> tuple[str, str]:
    """Return the bias as an array, and C that compares a dense layer."""
    x, w, y, n = node.input(0), node.input(1), node.output, node.number
    units, inputs = w.shape
    bias = node.constant(2) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(units, np.int32)
    low, high = limits(node.options["fusedActivationFunction"], y.scale, y.zero)
    each = len(w.scales) > 1
    kind, quantization = ("per_channel_s8", "{m, s}") if each else ("s8", "{m[0], s[0]}")
    parameters = f"const cmsis_nn_per_{'channel' if each else 'tensor'}_quant_params q = {quantization};\n        "
    arguments = f"&none, &p, &q, &in, x, &filter, weights{n}, &out, raw_bias{n}, &out, y"
    call = f"{parameters}wrong += arm_fully_connected_{kind}({arguments}) != ARM_CMSIS_NN_SUCCESS;"
    words = {"inputs": inputs, "units": units, "offset": -x.zero, "zero": y.zero, "low": low, "high": high, "n": n}
    return array(f"raw_bias{n}", bias, "int32_t"), DENSE.format(**words, call=call)


def compared(graph: Graph, sources: Path, core: Core | None) -> str:
    """Return what the program prints."""
    parts, arrays = [], []
    for node in graph.nodes:
        if node.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM":
            parts.append(lstm(node))
        elif node.kind == "FULLY_CONNECTED":
            bias, text = dense(node)
            arrays.append(bias)
            parts.append(text)
    source = source_of(graph, "model", "tflm")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.c").write_text(source.code)
        (folder / "model.h").write_text(source.header)
        (folder / "main.c").write_text(MAIN.format(arrays="\n".join(arrays), body="".join(parts)))
        files = [sources / "Source" / f"{each}.c" for each in SOURCES.split()]
        flags = ["-std=gnu11", "-O1", "-w", f"-I{sources / 'Include'}", "main.c", *map(str, files), "-o", "main"]
        command = ["gcc", *flags, "-lm"] if core is None else [*core.compiler, *flags, *linked(core)]
        subprocess.run(command, cwd=folder, check=True)
        run = ["./main"]
        if core is not None:
            run = [*core.emulator, "-nographic", "-semihosting-config", "enable=on,target=native", "-kernel", "main"]
        return subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Run the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sources", type=Path)
    options.add_argument("files", nargs="*", type=Path)
    options.add_argument("--core", choices=[name for name in CORES if name != "rv32"], help="default: this processor")
    chosen = options.parse_args()
    weights = ROOT / "models" / "weights"
    shipped = [weights / f"{name}-int8.tflite" for name in ("gesture-nano", "speech-nano", "text-sentiment")]
    for path in chosen.files or shipped:
        core = core_of(chosen.core) if chosen.core else None
        text = compared(graph_of(path.read_bytes()), chosen.sources.resolve(), core)
        print(f"{path.stem}: {'; '.join(text.splitlines())}", flush=True)


if __name__ == "__main__":
    main()
