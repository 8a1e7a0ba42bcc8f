"""Memory that reading a table of sensor values takes, in chunks and at once, measured in processes of their own.

python benchmarks/large_tables.py [--megabytes 400]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 200_000


def write(path: Path, megabytes: float) -> int:
    """Write recordings of 100 rows, four channels, three labels; return the number of rows."""
    draw, rows = np.random.default_rng(0), 0
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1e6:
            recording = (rows + np.arange(ROWS)) // 100
            frame = pd.DataFrame(draw.normal(size=(ROWS, 4)).round(4), columns=["x", "y", "z", "p"])
            frame.insert(0, "recording", recording)
            frame.assign(label=np.array(["rest", "walk", "run"])[recording % 3]).to_csv(
                file, index=False, header=not rows
            )
            rows += ROWS
    return rows


def read(path: str, large: float) -> None:
    """Load the table as `python train.py gesture` does, go once over the training batches, print the peak."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from keras_gates.edge import chunks
    from keras_gates.models import registry

    chunks.LARGE = int(large)
    gesture = registry.find("gesture")
    gesture.data()  # what TensorFlow itself takes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = gesture.data(path)
    batches = sum(1 for _ in data.epoch(256, 0, 0).take(200))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{batches} batches, {before / 1024:.0f} MB before, {peak / 1024:.0f} MB at most")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=400)
    parser.add_argument("--read", nargs=2, metavar=("PATH", "LARGE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.read[0], float(arguments.read[1]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "moves.csv"
        print(f"{write(path, arguments.megabytes):,} rows, {path.stat().st_size / 1e6:.0f} MB")
        for name, large in (("in chunks", 1.0), ("at once", 1e15)):
            print(name, end=": ", flush=True)
            subprocess.run([sys.executable, __file__, "--read", str(path), str(large)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
