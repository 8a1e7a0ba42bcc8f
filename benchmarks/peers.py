"""`torch.nn.LSTM` and the bare matmuls in a process of their own, which answers how long a call took.

In one process with TensorFlow PyTorch's waiting threads slow the contender that comes after it, and to forbid them to wait
(`OMP_WAIT_POLICY=passive`) slows PyTorch. So `benchmarks/layers.py` asks this program: a name and `forward` or `train` a
line, milliseconds of wall and processor time a line back. `torch.nn.LSTM` runs with all threads and with one.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

Pair = tuple[Callable, Callable]
REST = 0.01  # seconds after which the other process' threads have stopped to wait actively


def timed(call: Callable) -> tuple[float, float]:
    """Milliseconds of wall time, and of processor time of all threads, that the second of two calls took: the first finds
    cold caches and sleeping threads, as the contender before left them, and a training calls the same thing again and again."""
    call()
    start, used = time.perf_counter(), time.process_time()
    call()
    return 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - used)


def ask(shape: str, variant: str) -> dict[str, Pair]:
    """Name → (forward, training step), each a function that says how long it took."""
    command = [sys.executable, __file__, shape, variant]  # inherits how many processors this process may use
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def answer(name: str, kind: str) -> tuple[float, float]:
        child.stdin.write(f"{name}\t{kind}\n")
        line = child.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(command)} ended while it was asked for {name} {kind}; run it by hand.")
        time.sleep(REST)
        wall, processor = map(float, line.split())
        return wall, processor

    names = child.stdout.readline().rstrip("\n").split("\t")
    return {name: (partial(answer, name, "forward"), partial(answer, name, "train")) for name in names}


def lstm(batch: int, steps: int, features: int, units: int, variant: str) -> Pair:
    """`torch.nn.LSTM` as the variant wants it: forward, and the gradients of all weights and of the input."""
    import torch

    layers, both = (2 if variant == "stacked" else 1), variant == "bidirectional"
    projected = units // 2 if variant == "projection" else 0
    layer = torch.nn.LSTM(features, units, num_layers=layers, bidirectional=both, batch_first=True, proj_size=projected)
    events = torch.randn(batch, steps, features, requires_grad=True)
    values = [events, *layer.parameters()]

    def loss() -> torch.Tensor:
        outputs = layer(events)[0]
        return (outputs[:, -1] if variant == "last" else outputs).square().sum()

    def forward() -> None:
        with torch.no_grad():
            layer(events)

    return forward, lambda: torch.autograd.grad(loss(), values)


def matmuls(batch: int, steps: int, features: int, units: int) -> Pair:
    """The matmuls of the same shapes and nothing else: of all events at once, of every step, of the gradients."""
    import torch

    x, stm, z = torch.rand(batch * steps, features), torch.rand(batch, units), torch.rand(batch * steps, 4 * units)
    kernel, recurrent = torch.rand(features, 4 * units), torch.rand(units, 4 * units)
    all_stm = torch.rand(len(x), units)

    def forward() -> None:
        with torch.no_grad():
            x @ kernel
            for _ in range(steps):
                stm @ recurrent

    def train() -> None:
        forward()
        with torch.no_grad():
            for _ in range(steps):
                z[:batch] @ recurrent.T
            x.T @ z, all_stm.T @ z, z @ kernel.T

    return forward, train


def with_threads(pair: Pair, number: int) -> Pair:
    """The same with so many threads."""
    import torch

    def run(call: Callable) -> None:
        torch.set_num_threads(number)
        call()

    return partial(run, pair[0]), partial(run, pair[1])


def main() -> None:
    import torch

    shape, variant = sys.argv[1:]
    sizes = [int(size) for size in shape.split("/")]
    all_threads, peer = torch.get_num_threads(), lstm(*sizes, variant)
    found = {"torch.nn.LSTM": with_threads(peer, all_threads)}
    if all_threads > 1:
        found["torch.nn.LSTM, one thread"] = with_threads(peer, 1)
    if variant == "plain":
        found["bare matmuls"] = with_threads(matmuls(*sizes), all_threads)
    print("\t".join(found), flush=True)
    for line in sys.stdin:
        name, kind = line.rstrip("\n").split("\t")
        print(*timed(found[name][kind == "train"]), flush=True)


if __name__ == "__main__":
    main()
