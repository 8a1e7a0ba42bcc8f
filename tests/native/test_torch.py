"""The native loop with PyTorch: compiled by torch.compile, left out of exported programs; numbers are tested in tests/loops."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import BACKEND, FEATURES, TIME, UNITS, WITHOUT_KERNEL, assert_close, data, numpy, randomise

from keras_gates import GateLSTM
from keras_gates.loops.native import arrays_of
from keras_gates.native.structures import present

if BACKEND != "torch":
    pytest.skip("operators of PyTorch", allow_module_level=True)
if WITHOUT_KERNEL:
    pytest.skip(f"the native kernel does not run: {WITHOUT_KERNEL}", allow_module_level=True)

import torch

X = data(4, TIME, FEATURES)


def layer_of(**options):
    layer = GateLSTM(UNITS, return_sequences=True, **options)
    layer.build((None, None, FEATURES))
    return randomise(layer)


def memories(batch):
    return {"stm": torch.ones(batch, UNITS), "ltm": torch.zeros(batch, UNITS)}


@pytest.fixture
def layer():
    return layer_of()


def test_the_operators_are_consistent(layer):
    """PyTorch's own checks: the schema, the shapes without data, and autograd's registration."""
    from keras_gates.native import torch_binding

    there = present({"events": torch.tensor(X), **memories(len(X)), **arrays_of(layer.cell.joint_weights())})
    arrays = [array.detach().requires_grad_(n > 2) for n, array in enumerate(there.arrays)]
    mask = torch.tensor(np.random.default_rng(0).random(X.shape[:2]) < 0.7)
    for counts, sequences, save in ((None, True, True), (mask, False, True)):
        arguments = (arrays, counts, there.bits, sequences, False, False, False, save)
        tests = ("test_schema", "test_faketensor", "test_autograd_registration")
        torch.library.opcheck(torch_binding._lstm, arguments, test_utils=tests)


def test_torch_compile_takes_it(layer):
    def slopes(run):
        events = torch.tensor(X, requires_grad=True)
        outputs = run(events)
        variables = [variable.value for variable in layer.trainable_variables]
        return numpy([outputs.detach(), *torch.autograd.grad(outputs.square().sum(), [events, *variables])])

    assert layer.explain().name == "native"
    assert_close(slopes(torch.compile(layer, backend="aot_eager")), slopes(layer), "compiled", 1e-6)


def test_an_exported_program_does_not_contain_it(layer):
    program = torch.export.export(layer, (torch.tensor(X),), strict=False)
    assert not any("keras_gates" in str(node.target) for node in program.graph.nodes)
    assert_close(numpy(program.module()(torch.tensor(X)).detach()), numpy(layer(X).detach()), "exported", 1e-6)


def test_transforms_of_functions_use_another_loop():
    layer = layer_of(formulation="article", loop="auto")
    names = []

    def run(x):
        names.append(layer.explain(masked=True).name)
        return x * 2

    torch.func.vmap(run)(torch.tensor(X))
    assert names == ["stepped"]


def test_an_empty_batch_and_an_empty_sequence(layer):
    from keras_gates.native import torch_binding

    weights = arrays_of(layer.cell.joint_weights())
    options = {"sequences": True, "go_backwards": False, "zeros": False}
    for batch, time in ((0, 4), (2, 0)):
        arrays = {"events": torch.zeros(batch, time, FEATURES), **memories(batch), **weights}
        mask = torch.ones(batch, time, dtype=torch.bool)
        outputs, stm, _ = torch_binding.lstm(arrays, mask, **options)
        assert outputs.shape == (batch, time, UNITS)
        if not time:
            assert_close(numpy(stm), np.ones((batch, UNITS)), "STM")


def test_tensors_without_data_and_modes_get_the_operator(layer):
    """The core would read and write at their addresses; a traced graph would lack what it writes."""
    from torch.fx.experimental.proxy_tensor import make_fx

    with torch.no_grad():  # as Keras computes shapes
        assert tuple(layer(torch.zeros(3, TIME, FEATURES, device="meta")).shape) == (3, TIME, UNITS)
        graph = make_fx(layer)(torch.tensor(X)).graph
        assert any("keras_gates" in str(node.target) for node in graph.nodes)


def test_forward_mode_is_an_error_also_where_no_gradient_is_asked_for(layer):
    from torch.autograd import forward_ad

    with torch.no_grad(), forward_ad.dual_level(), pytest.raises(NotImplementedError, match="jvp"):
        layer(forward_ad.make_dual(torch.tensor(X), torch.tensor(X)))


def test_a_second_derivative_names_the_loop_that_has_one(layer):
    events = torch.tensor(X, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(events).square().sum(), events, create_graph=True)
    with pytest.raises(ValueError, match="portable"):
        slope.sum().backward()


TEAM_AND_FORK = """
import os, sys
import numpy as np, torch
from keras_gates import GateLSTM
from keras_gates.native import torch_binding

torch.set_num_threads(2)
layer = GateLSTM(64, return_sequences=True)
layer.build((None, None, 64))
events = torch.tensor(np.random.default_rng(0).normal(size=(32, 40, 64)).astype("float32"), requires_grad=True)


def slopes():
    outputs = layer(events)
    return [each.detach().numpy() for each in (outputs, *torch.autograd.grad(outputs.square().sum(), events))]


assert layer.explain().name == "native"
with_team = slopes()
child = os.fork()
if not child:
    with torch.no_grad():
        os._exit(not np.array_equal(layer(events).numpy(), with_team[0]))
assert not os.waitpid(child, 0)[1]
torch_binding._core().kg_use_team(None)
for ours, theirs in zip(slopes(), with_team):
    np.testing.assert_array_equal(ours, theirs)
"""


def test_pytorchs_threads_and_our_own_give_the_same_numbers_also_after_a_fork():
    ended = subprocess.run([sys.executable, "-c", TEAM_AND_FORK], capture_output=True, text=True, timeout=300)
    assert not ended.returncode, ended.stderr
