"""Every private name of Keras and TensorFlow in use is there, and its absence raises one sentence that says what to install."""

import ast
import inspect
from pathlib import Path

import keras
import pytest

from keras_gates import _compat

TENSORFLOW = keras.backend.backend() == "tensorflow"


def sequential():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(loss="mse")
    return model


def functional():
    events = keras.Input((3,), name="events")
    return keras.Model({"events": events}, {"answer": keras.layers.Dense(2)(events)})


def on(make, function):
    """A case whose private name is an attribute of the object that `make` returns."""

    def case():
        owner = make()
        return owner, lambda: function(owner)

    return case


def of_module(name, function):
    """A case whose private name is an attribute of a module."""

    def case():
        return pytest.importorskip(name), function

    return case


def lstm_cell():
    return keras.layers.LSTMCell, _compat.dropout_cell


class CellWithoutDropout:
    """What `keras.layers.LSTMCell` would be if Keras drew dropout masks elsewhere."""


CASES = {
    "flatten_layers": (on(sequential, _compat.flatten_layers), "_flatten_layers"),
    "dropout_cell": (lstm_cell, "DropoutRNNCell"),
    "without_dropout_masks": (
        on(lambda: keras.layers.LSTM(2), _compat.without_dropout_masks),
        "_maybe_config_dropout_masks",
    ),
    "without_dropout_masks, the second": (
        on(lambda: keras.layers.LSTM(2), _compat.without_dropout_masks),
        "_maybe_reset_dropout_masks",
    ),
    "without_input_checks": (on(sequential, _compat.without_input_checks), "_assert_input_compatibility"),
    "with_dtype": (
        on(lambda: keras.layers.Dense(2), lambda layer: _compat.with_dtype(layer, "float32")),
        "_dtype_policy",
    ),
    "takes_training": (on(lambda: keras.layers.Dropout(0.5), _compat.takes_training), "_call_has_training_arg"),
    "functional_graph": (on(sequential, _compat.functional_graph), "_functional"),
    "calls_of": (on(lambda: keras.layers.Dense(2), _compat.calls_of), "_inbound_nodes"),
    "without_new_nodes": (
        on(functional, lambda model: [_compat.without_new_nodes(model).__enter__()]),
        "_inbound_nodes",
    ),
    "without_new_nodes, the second": (
        on(functional, lambda model: [_compat.without_new_nodes(model).__enter__()]),
        "_outbound_nodes",
    ),
    "graph_nodes": (on(functional, _compat.graph_nodes), "_nodes_by_depth"),
    "producer": (on(lambda: functional().outputs[0], _compat.producer), "_keras_history"),
    "input_structure": (on(functional, _compat.input_structure), "_inputs_struct"),
    "output_structure": (on(functional, _compat.output_structure), "_outputs_struct"),
    "compile_arguments": (on(sequential, _compat.compile_arguments), "_compile_config"),
    "backend_lstm": (of_module("keras.src.backend", _compat.backend_lstm), "lstm"),
    "backend_rnn": (of_module("keras.src.backend", _compat.backend_rnn), "rnn"),
    "in_xla_context": (
        of_module("tensorflow.python.ops.control_flow_util", _compat.in_xla_context),
        "GraphOrParentsInXlaContext",
    ),
    "tape_is_active": (of_module("tensorflow.python.eager.record", _compat.tape_is_active), "could_possibly_record"),
    "in_torch_transform": (of_module("torch._C._functorch", _compat.in_torch_transform), "maybe_current_level"),
    "in_torch_mode": (of_module("torch._C", _compat.in_torch_mode), "_len_torch_dispatch_stack"),
}


def remove(monkeypatch, owner, name):
    if owner is keras.layers.LSTMCell:
        monkeypatch.setattr(keras.layers, "LSTMCell", CellWithoutDropout)
    elif name in vars(owner):
        monkeypatch.delitem(vars(owner), name)
    else:
        monkeypatch.delattr(next(base for base in type(owner).__mro__ if name in vars(base)), name)


@pytest.mark.parametrize("case", CASES)
def test_a_private_name_is_there_and_its_absence_says_what_to_install(monkeypatch, case):
    if case in ("in_xla_context", "tape_is_active") and not TENSORFLOW:
        pytest.skip("only TensorFlow's loops ask for it")
    make, name = CASES[case]
    owner, call = make()
    assert call() is not None
    remove(monkeypatch, owner, name)
    with pytest.raises(
        ImportError, match=rf"{name}.* does not have\. Install keras>=3\.\d+,<4 .*tensorflow>=2\.\d+,<3"
    ):
        call()


def test_every_function_has_a_case():
    functions = [name for name, value in vars(_compat).items() if inspect.isfunction(value) and name[0] != "_"]
    assert set(functions) == {case.split(",")[0] for case in CASES} | {"cached_logits"}  # which may find nothing


def test_logits_are_those_that_softmax_saw():
    logits = keras.ops.convert_to_tensor([[0.5, -1.0, 2.0]])
    cached = _compat.cached_logits(keras.activations.softmax(logits))
    assert cached is None or (keras.ops.convert_to_numpy(cached) == keras.ops.convert_to_numpy(logits)).all()
    assert _compat.cached_logits(logits) is None


def test_what_the_functions_return():
    model = sequential()
    assert [type(layer).__name__ for layer in _compat.flatten_layers(model, include_self=False)][-1] == "Dense"
    assert isinstance(keras.layers.LSTMCell(2), _compat.dropout_cell())
    assert _compat.takes_training(keras.layers.Dropout(0.5))
    assert not _compat.takes_training(keras.layers.RepeatVector(2))
    assert list(_compat.input_structure(functional())) == ["events"]
    assert list(_compat.output_structure(functional())) == ["answer"]
    assert _compat.input_structure(model) is None
    assert _compat.compile_arguments(model)["loss"] == "mse"
    assert _compat.functional_graph(model).operations


PACKAGE = Path(_compat.__file__).parent
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "_compat.py"]
PRIVATE_NAMES = {name for _, name in CASES.values()}


@pytest.mark.parametrize("package", sorted({path.relative_to(PACKAGE).parts[0] for path in FILES}))
def test_no_other_file_uses_a_private_name(package):
    uses = []
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] != package:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = {getattr(node, "attr", ""), getattr(node, "value", "") if isinstance(node, ast.Constant) else ""}
            modules = [getattr(node, "module", "") or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            private = {
                name
                for name in {name for name in names if isinstance(name, str)} & PRIVATE_NAMES
                if name.startswith("_")
            }
            private |= {module for module in modules if module.startswith(("keras.src", "tensorflow.python"))}
            uses += [f"{path.relative_to(PACKAGE)}:{node.lineno} {name}" for name in private]
    assert uses == [], "fetch it in keras_gates/_compat.py"
