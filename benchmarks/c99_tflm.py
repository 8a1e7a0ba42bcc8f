"""The same int8 file in TensorFlow Lite Micro on an emulated Cortex-M, with its own kernels and with CMSIS-NN, and as our C.

python benchmarks/c99_tflm.py SOURCES [FILE.tflite ...] [--core m4] [--cmsis]

Without files: the nano preset of every model that TFLM runs with one input, and speech-base (benchmarks/results/c99_tflm.json).
SOURCES is a folder with checkouts: tflite-micro, CMSIS-NN, flatbuffers (the version that TFLM's schema names, v25.9.23),
gemmlowp, ruy. Per file: flash with the model and without it, RAM, instructions per sequence and event, and how many output
integers of three random sequences differ from TFLM on x86-64, to which our C with arithmetic="tflm" is bit-equal. Flags of a
release: -Os, error texts stripped, functions that are not called removed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path
from string import Template

import numpy as np

from keras_gates.exporting.c99.cores import CORES, Core, core_of
from keras_gates.exporting.c99.graph import C_TYPES, graph_of
from keras_gates.exporting.c99.measure import measure
from keras_gates.exporting.c99.reference import answers, random_inputs

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "keras_gates" / "exporting" / "c99" / "templates"
SEQUENCES = 3
SHIPPED = ("gesture-nano", "digits-nano", "speech-nano", "language-nano", "forecast-etth1-nano", "speech-base")
OURS = ("flash", "state", "stack", "instructions")
ARENA = 64 << 10
FLAGS = ["-Os", "-DNDEBUG", "-ffunction-sections", "-fdata-sections", "-fno-exceptions", "-w"]
FLAGS += ["-DTF_LITE_STATIC_MEMORY", "-DTF_LITE_STRIP_ERROR_STRINGS", "-DTF_LITE_DISABLE_X86_NEON"]
PLUS = ["-std=c++17", "-fno-rtti", "-fno-threadsafe-statics", "-fno-unwind-tables"]
# the operators of these files, and what they need
KERNELS = """unidirectional_sequence_lstm fully_connected fully_connected_common softmax softmax_common mul mul_common add
add_common sub sub_common strided_slice strided_slice_common reduce reduce_common lstm_eval lstm_eval_common kernel_util
micro_tensor_utils gather concatenation reshape reshape_common"""
METHODS = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    "FULLY_CONNECTED": "AddFullyConnected",
    "SOFTMAX": "AddSoftmax",
    "MUL": "AddMul",
    "ADD": "AddAdd",
    "SUB": "AddSub",
    "STRIDED_SLICE": "AddStridedSlice",
    "REDUCE_MAX": "AddReduceMax",
    "GATHER": "AddGather",
    "CONCATENATION": "AddConcatenation",
    "RESHAPE": "AddReshape",
}
MAIN = """
#include <cstdio>
#include <cstring>
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"
#include "data.h"

alignas(16) static uint8_t arena[$arena];
static volatile uint32_t *const systick = (volatile uint32_t *)0xE000E010;
#ifdef BARE
static const int8_t *volatile sensor;
static int16_t *volatile result;
#endif

int main() {
  tflite::MicroMutableOpResolver<$count> resolver;
$methods
  tflite::MicroInterpreter interpreter(tflite::GetModel(model_bytes), resolver, arena, sizeof arena);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 1;
  TfLiteTensor *in = interpreter.input(0), *out = interpreter.output(0);
#ifdef BARE
  for (;;) {
    std::memcpy(in->data.raw, (const void *)sensor, in->bytes);
    interpreter.Invoke();
    std::memcpy((void *)result, out->data.raw, out->bytes);
  }
#else
  systick[1] = 0xFFFFFF, systick[2] = 0, systick[0] = 5;
  for (int n = 0; n < $sequences; ++n) {
    interpreter.Reset();
    std::memcpy(in->data.raw, inputs[n], in->bytes);
    const uint32_t before = systick[2];
    if (interpreter.Invoke() != kTfLiteOk) return 2;
    const uint32_t ticks = (before - systick[2]) & 0xFFFFFF;
    std::printf("%u %u", (unsigned)ticks, (unsigned)interpreter.arena_used_bytes());
    const size_t wide = out->type == kTfLiteInt16 ? sizeof(int16_t) : sizeof(int8_t);
    for (size_t i = 0; i < out->bytes / wide; ++i) std::printf(" %d", wide == 2 ? out->data.i16[i] : out->data.int8[i]);
    std::printf("\\n");
  }
#endif
  return 0;
}
"""


def built(sources: Path, core: Core, cmsis: bool, build: Path) -> list[Path]:
    """Compile TFLM's part once; return the object files."""
    root, micro = sources / "tflite-micro", sources / "tflite-micro/tensorflow/lite/micro"
    files = [path for path in micro.glob("*.cc") if not path.stem.endswith(("_test", "helpers", "graph", "setup"))]
    unused = ("test_helper_custom_ops", "fake_micro_context", "hexdump", "recording_micro_allocator", "micro_time")
    files = [path for path in files if path.stem not in unused]
    files += [micro / "micro_interpreter_graph.cc", micro / "memory_helpers.cc"]
    for folder in ("arena_allocator", "memory_planner", "tflite_bridge"):
        files += [path for path in (micro / folder).glob("*.cc") if not path.stem.endswith("_test")]
    lite, mlir = root / "tensorflow/lite", root / "tensorflow/compiler/mlir/lite"
    files += [lite / "core/api/flatbuffer_conversions.cc", lite / "core/api/tensor_utils.cc", lite / "core/c/common.cc"]
    files += [mlir / "core/api/error_reporter.cc", mlir / "schema/schema_utils.cc", lite / "kernels/kernel_util.cc"]
    files += (lite / "kernels/internal").glob("*.cc")
    for name in KERNELS.split():
        own = micro / "kernels/cmsis_nn" / f"{name}.cc"
        files.append(own if cmsis and own.exists() else micro / "kernels" / f"{name}.cc")
    if cmsis:
        for folder in ("LSTM", "FullyConnected", "NNSupport", "Softmax", "BasicMath"):
            every = (sources / f"CMSIS-NN/Source/{folder}Functions").glob("*.c")
            files += [path for path in every if not re.search("_f16|_f32|_s4|conv|transpose", path.stem)]
    objects = []
    for path in sorted(set(files)):
        folder = "lite_kernels" if path.parent == lite / "kernels" else path.parent.name  # both have a kernel_util
        arm = path.parent.name == "cmsis_nn" or path.suffix == ".c"
        target = build / ("cmsis" if arm else "own") / f"{folder}_{path.stem}.o"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            command = compiler(sources, core, cmsis, path.suffix == ".cc")
            subprocess.run([*command, "-c", path, "-o", target], check=True)
        objects.append(target)
    return objects


def compiler(sources: Path, core: Core, cmsis: bool, plus: bool) -> list[str]:
    """Return the command that compiles one file."""
    tool, *options = core.compiler
    where = ["tflite-micro", "flatbuffers/include", "gemmlowp", "ruy", "CMSIS-NN", "CMSIS-NN/Include"]
    kind = [tool.replace("gcc", "g++"), *options, *PLUS] if plus else [tool, *options, "-std=c11"]
    return [*kind, *FLAGS, *(["-DCMSIS_NN"] if cmsis else []), *(f"-I{sources / each}" for each in where)]


def measured(data: bytes, core: Core, objects: list[Path], command: list[str]) -> tuple[dict[str, int], np.ndarray]:
    """Link and run a file; return what it takes, and its outputs."""
    graph = graph_of(data)
    samples = random_inputs(graph, SEQUENCES, seed=1)
    kinds = sorted({node.kind for node in graph.nodes})
    rows = ["{" + ", ".join(map(str, sample[0].reshape(-1))) + "}" for sample in samples]
    words = {"arena": ARENA, "count": len(kinds), "sequences": SEQUENCES}
    words["methods"] = "".join(f"  resolver.{METHODS[kind]}();\n" for kind in kinds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = f"alignas(16) static const unsigned char model_bytes[] = {{{', '.join(map(str, data))}}};\n"
        shape = f"[{SEQUENCES}][{samples[0][0].size}]"
        text += f"#ifndef BARE\nstatic const {C_TYPES[graph.inputs[0].dtype]} inputs{shape} = {{{', '.join(rows)}}};\n#endif\n"
        (folder / "data.h").write_text(text)
        (folder / "main.cc").write_text(Template(MAIN).substitute(words))
        every = [folder / "main.cc", *objects, "-Wl,--gc-sections", f"-I{folder}"]
        bare = ["-DBARE", "-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,-e,main"]
        subprocess.run([*command, *bare, *every, "-o", folder / "bare.elf"], check=True)
        sizes = subprocess.check_output(["arm-none-eabi-size", folder / "bare.elf"], text=True).splitlines()[1].split()
        subprocess.run([*core.compiler, "-Os", "-c", TEMPLATES / "startup.c", "-o", folder / "startup.o"], check=True)
        memory = {"FLASH": core.flash, "RAM": core.ram, "RAM_SIZE": 1 << 20}
        start = ["-nostartfiles", "--specs=rdimon.specs", "-T", TEMPLATES / "board.ld", folder / "startup.o"]
        start += [f"-Wl,--defsym={key}={value}" for key, value in memory.items()]
        subprocess.run([*command, *start, *every, "-o", folder / "run.elf"], check=True)
        counting = ["-icount", "shift=0", "-nographic", "-semihosting-config", "enable=on,target=native"]
        emulator = [*core.emulator, *counting]
        printed = subprocess.check_output([*emulator, "-kernel", folder / "run.elf"], text=True)
    lines = [list(map(int, line.split())) for line in printed.splitlines()]
    flash = int(sizes[0]) + int(sizes[1])
    row = {"flash": flash, "without model": flash - len(data), "arena used": lines[0][1]}
    row["RAM"] = int(sizes[1]) + int(sizes[2]) - ARENA + lines[0][1]
    row["instructions per sequence"] = round(lines[-1][0] * 1000 / core.clock)
    return row, np.array([line[2:] for line in lines])


def main() -> None:
    """Run the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sources", type=Path)
    options.add_argument("files", nargs="*", type=Path)
    options.add_argument("--core", default="m4", choices=[name for name in CORES if name != "rv32"])
    options.add_argument("--cmsis", action="store_true", help="with CMSIS-NN's kernels as well")
    chosen = options.parse_args()
    core, rows = core_of(chosen.core), {}
    shipped = [ROOT / "models" / "weights" / f"{name}-int8.tflite" for name in SHIPPED]
    for cmsis in (False, True) if chosen.cmsis else (False,):
        objects = built(chosen.sources, core, cmsis, chosen.sources / f"build-{chosen.core}")
        for path in chosen.files or shipped:
            data = path.read_bytes()
            graph = graph_of(data)
            samples = random_inputs(graph, SEQUENCES, seed=1)
            wanted = np.array([each[0].reshape(-1) for each in answers(data, graph, "tflm", samples)])
            row, got = measured(data, core, objects, compiler(chosen.sources, core, cmsis, True))
            row["instructions per event"] = round(row["instructions per sequence"] / graph.inputs[0].shape[1])
            row["different outputs"], row["of"] = int((got != wanted).sum()), got.size
            row["by at most"] = int(np.abs(got - wanted).max())
            name = f"{path.stem} on a {core.title}"
            rows[f"{name}, TFLM, {'CMSIS-NN' if cmsis else 'its own kernels'}"] = row
            if not cmsis:
                rows[f"{name}, C"] = {key: getattr(measure(data, chosen.core), key) for key in OURS}
            for key in list(rows)[-1 if cmsis else -2 :]:
                print(f"{key}: {rows[key]}", flush=True)
    if not chosen.files:
        text = ",\n".join(f" {json.dumps(key)}: {json.dumps(row)}" for key, row in sorted(rows.items()))
        (ROOT / "benchmarks" / "results" / "c99_tflm.json").write_text(f"{{\n{text}\n}}\n")


if __name__ == "__main__":
    main()
