"""What every test runs under: quiet TensorFlow, one seed per test, so that a failure repeats; and the quick selection."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores: more threads than cores would only wait for each other.
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

TESTS = Path(__file__).parent
# `pytest -m quick`: these files, without the tests whose names match (they take seconds each).
QUICK = {
    "layers/test_gates.py": None,
    "layers/test_cell.py": "trains_saves_and_loads",
    "layers/test_errors.py": None,
    "layers/test_lstm.py": "equals_keras_lstm|equals_numpy|gradients_equal|same_seed_draws",
    "loops/test_gradients.py": "any_layer",
    "conversion/test_keras_lstm.py": "between_the_two_classes|functional|compiled|used_twice",
    "inspection/test_tracing.py": "nested_bidirectional|half_precision",
    "exporting/test_export.py": "^(?!.*(operator_a_layer_and_direction.(GateLSTM|nested)|unknown_words|beyond_ten))",
    "edge/test_edge.py": "article|both_ways|int8|micro|stream",
    "project/test_structure.py": None,
}


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    np.random.seed(7)


def _is_quick_run(config):
    return config.option.markexpr == "quick"


def pytest_configure(config):
    missing = [name for name in QUICK if not (TESTS / name).exists()]
    if missing:
        raise pytest.UsageError(f"QUICK in tests/conftest.py names files that are not there: {', '.join(missing)}")


def pytest_ignore_collect(collection_path, config):
    """Leave files without a quick test unread: importing them all takes longer than the quick tests."""
    if _is_quick_run(config) and collection_path.name.startswith("test_"):
        return collection_path.relative_to(TESTS).as_posix() not in QUICK or None
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        slow = QUICK.get(item.path.relative_to(TESTS).as_posix(), "")
        if slow is None or (slow and not re.search(slow, item.name)):
            item.add_marker(pytest.mark.quick)
