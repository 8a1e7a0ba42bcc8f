"""Simple models on the data of each shipped preset, written into its card. Forecasts have theirs among their scores.

    TFDS_DATA_DIR=FOLDER python benchmarks/card_baselines.py [MODEL …] [--seconds 120]

Presets of one model with the same data share the result. Then: python benchmarks/results.py
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_gates._files import read_json, write_json
from keras_gates.models import registry
from keras_gates.models.training import baselines, options


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[name for name in registry.names() if name != "forecast"])
    parser.add_argument("--seconds", type=float, default=120, help="no further simple model is started after this time")
    arguments = parser.parse_args()
    for name in arguments.models:
        known: dict[str, list] = {}
        for preset in registry.find(name).presets:
            path = registry.WEIGHTS / f"{name}-{preset}.json"
            if not path.exists():
                continue
            card = read_json(path)
            config = options.configuration(options.parser().parse_args(shlex.split(card["command"])[2:]))
            key = json.dumps([config.data, dict(config.data_arguments)])
            if key not in known:
                data = registry.find(name).data(config.data, config.data_dir, 0, **config.data_arguments)
                known[key] = baselines.baselines(data, arguments.seconds)
            write_json(path, {**card, "baselines": known[key]})
            print(path.stem, {row["baseline"]: round(row["value"], 4) for row in known[key]}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
