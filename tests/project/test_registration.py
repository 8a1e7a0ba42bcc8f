"""The public names and the classes registered with Keras: listed once, there after any first import."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_gates
from keras_gates import _registration

FIRST = [name for name in _registration._AfterKeras.TRIGGERS if name != "keras"]


def test_dir_lists_what_is_public():
    names = dir(keras_gates)
    assert {"GateLSTM", "start_with_span", "trace", "edge", "models", "__version__"} <= set(names)
    assert [name for name in names if name.startswith("_")] == ["__version__"]
    assert all(getattr(keras_gates, name) is not None for name in names)


def test_a_name_stands_in_the_module_that_defines_it():
    for name, module in _registration.MODULE_OF.items():
        thing = getattr(keras_gates, name)
        defined = getattr(inspect.unwrap(thing), "__module__", "")
        assert defined == f"keras_gates.{module}" or module in ("edge", "exporting", "inspection.plots"), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'GateLTSM'"):
        _ = keras_gates.GateLTSM


def test_every_module_that_registers_a_class_is_in_the_list():
    modules = set()
    for name in ("layers", "models", "quantization"):
        folder = (Path(keras_gates.__file__).parent / name).resolve()  # models is a link
        for path in folder.rglob("*.py"):
            if "@keras.saving.register_keras_serializable" in path.read_text(encoding="utf-8"):
                modules.add(".".join([name, *path.relative_to(folder).with_suffix("").parts]))
    assert len(modules) > 10
    assert modules <= set(_registration.PUBLIC)


def test_every_registered_class_of_the_package_is_registered_by_the_list():
    ours = {name: cls for name, cls in keras.saving.get_custom_objects().items() if name.startswith("keras_gates>")}
    assert {"keras_gates>GateLSTM", "keras_gates>LayerNormUseGate", "keras_gates>LogMel"} <= set(ours)
    assert {cls.__module__.removeprefix("keras_gates.") for cls in ours.values()} <= set(_registration.PUBLIC)


@pytest.mark.parametrize("first", FIRST)
def test_the_classes_are_registered_whichever_module_imports_keras_first(first):
    script = f"import keras_gates, {first}, keras; print(*keras.saving.get_custom_objects())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, env=os.environ)
    assert {"keras_gates>GateLSTM", "keras_gates>Words"} <= set(done.stdout.split()), done.stderr


def test_a_question_whether_keras_is_installed_does_not_prevent_the_registration():
    ask = "import importlib.util; importlib.util.find_spec('keras')"  # as tensorflow-datasets does
    script = f"import keras_gates; {ask}; import keras; print(*keras.saving.get_custom_objects())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, env=os.environ)
    assert {"keras_gates>GateLSTM", "keras_gates>Words"} <= set(done.stdout.split()), done.stderr
