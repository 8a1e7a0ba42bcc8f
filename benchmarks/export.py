"""What an export costs and gives: sizes, latency by form, arena; and many random models through it.

python benchmarks/export.py figures [--json FILE]      the figures of docs/export.md
python benchmarks/export.py random 200 [--first 0]     random models: how many agree, every one that does not
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def random_models(count: int, first: int) -> None:
    """Export `count` random models and compare each file with Keras on inputs it has not seen."""
    from export_models import judged, random_case

    verdicts: collections.Counter[str] = collections.Counter()
    forms: collections.Counter[str] = collections.Counter()
    start = time.time()
    for seed in range(first, first + count):
        case = random_case(seed)
        with tempfile.TemporaryDirectory() as folder:
            try:
                report, difference, allowed = judged(case, folder)
                verdict = "agree" if difference <= allowed else "differ"
                forms[f"{report.precision} {report.mode} {report.target} {report.form}"] += 1
                text = f"{verdict} {report.form} {difference:.2g} of {allowed:.2g}"
            except Exception as error:
                verdict = type(error).__name__
                text = f"{verdict}: {str(error)[:600]}"
                if verdict != "ExportError":
                    traceback.print_exc()
        verdicts[verdict] += 1
        print(f"{case.text} -> {text}", flush=True)
    print(f"{count} random models in {time.time() - start:.0f} s: {dict(verdicts)}")
    for form, times in forms.most_common():
        print(f"{times:4} {form}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    many = commands.add_parser("random")
    many.add_argument("count", type=int)
    many.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    random_models(arguments.count, arguments.first)


if __name__ == "__main__":
    main()
