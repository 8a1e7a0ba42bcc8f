"""What every test runs under: quiet TensorFlow, one seed per test, so that a failure repeats; and the quick selection."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")  # on a GPU products are otherwise rounded to ten bits
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

# Tests and cases that run with the slow ones (`pytest -m slow`): each takes seconds, and others take most of the same path.
SLOW = {
    "cli/test_cli.py": "starts_without_keras",
    "cli/test_keras_files.py": "nothing_but_its_report",
    "conversion/test_in_memory.py": "cannot_be_serialized",
    "conversion/test_keras_lstm.py": "between_the_two_classes.article",
    "conversion/test_torch_lstm.py": "there_and_back.*(num_layers': 3|dropout)",
    "edge/test_edge.py": "(what_keras_says_of|is_what_keras_predicts).*(article|micro|float|both_ways)",
    "edge/test_edge_device.py": "predicts_and_streams_with_numpy",
    "edge/test_frontends.py": "every_assigned_character.*(lower-|None-)",
    "exporting/test_c99.py": "bit_equal_to_the_runtime.*(base|pixels|sentiment|show|small|questions|rows)|"
    "16_bits_are_bit_equal.*tflm",
    "exporting/test_c99_frontends.py": "listen_reports.*1",
    "exporting/test_export.py": "(sequence_event_by_event|close_to_keras).*(article|cells|both)|"
    "operator_a_layer.*(cells|both)|other_lengths.(both|causal)",
    "exporting/test_faults.py": "data_of_every_kind.*(by name|nested|float64)|normalization_between",
    "exporting/test_micro.py": "passes_in_tflm.(float|micro_step|article|several)",
    "exporting/test_random_models.py": "random_case-100[235]|structured_case-(4263|4325|4356)",
    "exporting/test_stream_layers.py": "whole_sequence.(overlapping|valid|dilated|pointwise)|running_value.*Average",
    "inspection/test_ablation.py": "on_a_task_that_needs_them|held_factors.*-LSTM",
    "inspection/test_attribution.py": "add_up.*(softmax1|sigmoid|None)|largest_bar_is_on",
    "inspection/test_plots.py": "sizes.1000|every_kind.labels[245]",
    "layers/test_config.py": "save_and_load.(Scaled|GateLSTM)-Bidirectional",
    "layers/test_keras_friends.py": "keras_tuner|bidirectional_trains|freezing_one_gate.<lambda>-(learn|use)",
    "layers/test_precision.py": "4096_units|kind_of_gate.mixed_float16|(same_losses|equals_eager).*article",
    "layers/test_saving.py": "old_files.*(torch|jax)",
    "layers/test_variants.py": "trains_saves_and_loads.(coupled|layer_norm)",
    "layers/test_zoneout_and_projection.py": "test_trains.(zoneout of STM|open (learn|use))",
    "loops/test_loops.py": "sizes_known_at_run_time.(True-|False-article)|fit_save_and_export|"
    "gradients.compiled(, sparing)?-(article|standard-False)",
    "models/test_baselines.py": "convolutional|films",
    "models/test_own_data_end_to_end.py": "wav_files|csv_of_a",
    "models/test_sequence_models.py": "text_learns|refused_where_there_is_none.(speech|text)|device_share.*(text|language)|"
    "both_formulations.article-(speech|text)",
    "models/test_shipped.py": "score_is_the_cards|outputs_are_those.*(base|small|questions|sentiment|pixels)|small_sample.*show",
    "models/test_show.py": "every_memory_builds.*arguments[123]|with_memory_and_not_without|cifar",
    "models/test_train.py": "ctrl_c_keeps|same_seed_gives|uninterrupted",
    "native/test_graphs.py": "two_devices|each_way_of_training|test_model_export",
    "project/test_docs.py": "python_blocks.docs.quantization.md|python_blocks.docs/tutorials|site_builds",
    "project/test_pins.py": "holds_what_it_held.(int8_unrolled|int8_joined|int8_step|int16x8_step|"
    "int8_micro|while|float_front|float16)",
    "project/test_registration.py": "whichever_module",
    "project/test_reliability.py": "checkpoint_is_whole|code_in_it",
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
        file = item.path.relative_to(TESTS).as_posix()
        slow = QUICK.get(file, "")
        if slow is None or (slow and not re.search(slow, item.name)):
            item.add_marker(pytest.mark.quick)
        if file in SLOW and re.search(SLOW[file], item.name):
            item.add_marker(pytest.mark.slow)
