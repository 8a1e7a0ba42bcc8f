"""What becomes of every activation of Keras in an exported file: works, or the sentence that refuses it.

    python benchmarks/activations.py [NAME …]          # all of them, 6 minutes; benchmarks/results/activations.json

A dense layer whose output spreads by about 8 has the activation, between an LSTM and another dense layer. The figure is the mean
difference from Keras on held-out sequences, in the spread of the output.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_gates import ExportError, GateLSTM, export

RESULT = Path(__file__).parent / "results" / "activations.json"
_OTHERS = ("get", "serialize", "deserialize", "glu")  # the last halves the channels
NAMES = [name for name in dir(keras.activations) if not name.startswith("_") and name not in _OTHERS]
KINDS = (("int8", "cpu"), ("int8", "micro"), ("int16x8", "micro"))
X = np.random.default_rng(0).normal(size=(60, 6, 3)).astype("float32")


def model_of(name: str) -> keras.Model:
    """Return the model for one activation.

    Args:
        name: as Keras spells it.
    """
    keras.utils.set_random_seed(0)
    events = keras.Input((6, 3))
    hidden = layers.Rescaling(8.0)(layers.Dense(6)(GateLSTM(6)(events)))
    return keras.Model(events, layers.Dense(2)(layers.Activation(name)(hidden)))


def outcome(name: str, precision: str, target: str) -> dict[str, object]:
    """Return the share of the spread by which the file differs, or the sentence that refuses it.

    Args:
        name: of the activation.
        precision, target: as `export` takes them.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = export(model_of(name), folder, ["tflite"], precision, "sequence", target, calibration=X)
        except ExportError as error:
            return {"refused": str(error).splitlines()[0]}
    figures = report.outputs["prediction"]
    floats = [warning for warning in report.warnings if warning.startswith("operators left in float")]
    return {"difference": round(figures["mean"] / figures["spread"], 4), **({"float": floats[0]} if floats else {})}


def main() -> None:
    """Measure and write the table."""
    table = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in sys.argv[1:] or NAMES:
        table[name] = {f"{precision} {target}": outcome(name, precision, target) for precision, target in KINDS}
        print(name, json.dumps(table[name]), flush=True)
        RESULT.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
