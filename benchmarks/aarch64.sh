#!/bin/sh
# Run .tflite files under an emulated 64-bit ARM Linux, as a Raspberry Pi has it, and compare with this x86-64 machine.
#
#     sh benchmarks/aarch64.sh WORK_FOLDER out/model.tflite …
#
# Needs Debian or Ubuntu with apt-get (as root or not: nothing is installed, packages are only unpacked), pip and python3 with
# NumPy, ai-edge-litert and keras_gates. The emulator is Debian's qemu-user-static, Python and its libraries are Debian's arm64
# packages, NumPy and ai-edge-litert the arm64 wheels of PyPI.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
work=$1
shift
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/root/proc" "$work/site"
work=$(cd "$work" && pwd)

if [ ! -e "$work/root/usr/bin/python3.11" ]; then
    options="-o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o Dir::State::lists=$work/lists -o Dir::Cache=$work/cache"
    # shellcheck disable=SC2086
    apt-get $options update
    libraries="libc6 libgcc-s1 libstdc++6 zlib1g libssl3 libffi8 libexpat1 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libcrypt1"
    python="python3.11 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib"
    # shellcheck disable=SC2046,SC2086
    (cd "$work/debs" && apt-get $options download qemu-user-static $(printf '%s:arm64 ' $libraries $python))
    for package in "$work"/debs/*arm64.deb; do dpkg -x "$package" "$work/root"; done
    dpkg -x "$work"/debs/qemu-user-static*.deb "$work/qemu"
    python3 -m pip download --quiet --only-binary=:all: --no-deps --python-version 3.11 --implementation cp \
        --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 \
        --dest "$work/wheels" numpy ai-edge-litert
    for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/site"; done
    # LiteRT looks the processor up in /proc/cpuinfo and crashes on an x86 one: give it a Raspberry Pi's (Cortex-A72).
    processor=0
    while [ $processor -lt "$(nproc --all)" ]; do
        printf 'processor\t: %d\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n' $processor
        printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
        processor=$((processor + 1))
    done > "$work/root/proc/cpuinfo"
fi

cat > "$work/run.py" <<'PYTHON'
import platform, sys
sys.modules["keras"] = None
import numpy as np
from keras_gates.edge import EdgeError, EdgeModel
answers = {}
for number, path in enumerate(sys.argv[2:]):
    model, random = EdgeModel(path, probe=False), np.random.default_rng(0)
    x = {}
    for port in model.description.events:
        shape = (4, *port.tensor.shape[1:])
        whole = port.tensor.dtype == "int32"
        x[port.name] = random.integers(1, 4, shape) if whole else random.normal(size=shape).astype("float32")
    got = model.predict(x)
    for name, values in (got.items() if isinstance(got, dict) else [("prediction", got)]):
        answers[f"{number} {name}"] = values
    try:
        rows = {port.name: np.concatenate(x[port.name]) if port.time else x[port.name][0] for port in model.description.events}
        got = model.stream().push(rows)
        answers[f"{number} stream"] = next(iter(got.values())) if isinstance(got, dict) else got
    except EdgeError:
        pass
np.savez(sys.argv[1], **answers)
print(platform.machine(), platform.python_version(), "NumPy", np.__version__, len(answers), "arrays")
PYTHON
PYTHONPATH=$here python3 "$work/run.py" "$work/here.npz" "$@"
PYTHONPATH=$work/site:$here PYTHONHOME=$work/root/usr "$work/qemu/usr/bin/qemu-aarch64-static" -cpu cortex-a72 \
    -L "$work/root" "$work/root/usr/bin/python3.11" "$work/run.py" "$work/there.npz" "$@"
python3 - "$work" "$@" <<'PYTHON'
import sys
import numpy as np
here, there = (np.load(f"{sys.argv[1]}/{name}.npz") for name in ("here", "there"))
for key in here.files:
    print(f"{sys.argv[2 + int(key.split()[0])]} {key.split()[1]}: largest difference {np.abs(here[key] - there[key]).max():.2g}")
PYTHON
