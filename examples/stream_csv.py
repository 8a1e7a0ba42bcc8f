"""A streaming loop for a device: one row of numbers per event on standard input, detections on standard output.

    your-sensor | python examples/stream_csv.py model.tflite state.npz

Only NumPy, ai-edge-litert and keras_gates are needed. The state is written when the input ends and read at the next start, so
that a restart loses nothing.
"""

import sys
from pathlib import Path

import numpy as np

from keras_gates.edge import EdgeError, EdgeModel


def main(model_path: str, state_path: str) -> None:
    """Stream until the input ends."""
    stream = EdgeModel(model_path).stream(smooth=5, threshold=0.6)
    state = Path(state_path)
    if state.exists():
        stream.state = np.load(state)
    for line in sys.stdin:
        try:
            detections = stream.detect([float(number) for number in line.split(",")])
        except (EdgeError, ValueError) as error:
            print(f"skipped {line.strip()!r}: {error}", file=sys.stderr)
            continue
        for detection in detections:
            print(f"event {detection.event}: {detection.label} ({detection.value:.0%})", flush=True)
    unfinished = state.with_suffix(".part.npz")
    np.savez(unfinished, **stream.state)
    unfinished.replace(state)


if __name__ == "__main__":
    main(*sys.argv[1:3])
