"""Trains the character models of `language` on a GPU with PyTorch alone: several presets and seeds at once.

    python benchmarks/language_gpu.py TEXT --presets large --seeds 0 1 2 --out runs

TEXT is a folder with train.txt, valid.txt and test.txt (of tiny_shakespeare: the official splits). The recipe is that of
`train.py language --preset … --data tfds`, with cuDNN's LSTM; each training step is one CUDA graph, and the graphs of all
models run side by side in streams of their own: nine models of up to 448 units took a minute on an H200. Two differences: the
rows that start from an empty state are always the first ones, and the last epoch counts, not the best. Writes a run folder
per model for `benchmarks/ship.py`: `model.keras` and `metrics.json`. Without a GPU it runs, slowly.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from torch import nn

import keras_gates
from keras_gates._files import write_json
from keras_gates.models import language
from keras_gates.models.data import corpus
from keras_gates.models.training import options
from keras_gates.models.training.recipe import DEFAULTS
from keras_gates.models.training.run_config import RunConfig

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CHUNK = 2000  # time steps per call in the evaluation
States = tuple[torch.Tensor, torch.Tensor]


class Network(nn.Module):
    """The layers of `language.build` for one memory: embedding, LSTM, output, with dropout before and after the LSTM.

    Args:
        size: of the vocabulary.
        build: arguments of `language.build`.
    """

    def __init__(self, size: int, build: Mapping[str, Any]) -> None:
        super().__init__()
        units, width = build.get("units", 256), build.get("width", 64)
        self.embedding = nn.Embedding(size, width)
        self.memory = nn.LSTM(width, units, batch_first=True)
        self.next = nn.Linear(units, size)
        self.before, self.after = nn.Dropout(build.get("input_dropout", 0.05)), nn.Dropout(build.get("dropout", 0.2))
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)
        nn.init.xavier_uniform_(self.memory.weight_ih_l0)
        for gate in self.memory.weight_hh_l0.data.split(units):
            nn.init.orthogonal_(gate)
        for bias in (self.memory.bias_ih_l0, self.memory.bias_hh_l0, self.next.bias):
            nn.init.zeros_(bias)
        self.memory.bias_ih_l0.data[units : 2 * units] = 1  # the forget gate is open
        nn.init.xavier_uniform_(self.next.weight)

    def forward(self, numbers: torch.Tensor, states: States) -> tuple[torch.Tensor, States]:
        """Return the logits (batch, time, vocabulary) and the last states."""
        outputs, states = self.memory(self.before(self.embedding(numbers)), states)
        return self.next(self.after(outputs)), states

    def empty(self, rows: int) -> States:
        """Return zero states."""
        return tuple(torch.zeros(1, rows, self.memory.hidden_size, device=DEVICE) for _ in range(2))


def cross_entropy(logits: torch.Tensor, actual: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Nats per character, or their sum."""
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), actual.flatten(), reduction=reduction)


@torch.no_grad()
def evaluate(network: Network, numbers: torch.Tensor) -> float:
    """Nats per character of a text that is divided into 8 sequences, states carried over to their end."""
    network.eval()
    length = (len(numbers) - 1) // 8
    x, y = (numbers[start : start + 8 * length].view(8, length) for start in (0, 1))
    states, total = network.empty(8), 0.0
    for at in range(0, length, CHUNK):
        logits, states = network(x[:, at : at + CHUNK], states)
        total += float(cross_entropy(logits, y[:, at : at + CHUNK], "sum"))
    network.train()
    return total / (8 * length)


class Training:
    """One model in training, a batch per call of `step`.

    Args:
        config: of the run.
        text: the training part as indices, on the device.
        size: of the vocabulary.
    """

    def __init__(self, config: RunConfig, text: torch.Tensor, size: int) -> None:
        torch.manual_seed(config.seed)
        self.config, self.text, self.random = config, text, np.random.default_rng(config.seed)
        self.recipe = {**DEFAULTS, **config.recipe}
        self.rows, self.length = config.build["batch"], config.data_arguments["steps"]
        self.network, self.average = (Network(size, config.build).to(DEVICE) for _ in range(2))
        self.average.load_state_dict(self.network.state_dict())
        self.rate, self.decay, self.loss = (torch.zeros((), device=DEVICE) for _ in range(3))
        graphs = DEVICE == "cuda"
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.rate if graphs else 1e-3,
            weight_decay=self.recipe["weight_decay"],
            fused=graphs,
            capturable=graphs,
        )
        self.x, self.y = (torch.zeros(self.rows, self.length, dtype=torch.long, device=DEVICE) for _ in range(2))
        self.states = self.network.empty(self.rows)
        self.per_epoch = (len(text) - self.length) // self.rows // self.length
        self.done, self.total = 0, self.per_epoch * self.recipe["epochs"]
        self.stream = torch.cuda.Stream() if graphs else None
        self.graph = self._captured() if graphs else None

    def _captured(self) -> torch.cuda.CUDAGraph:
        """The step as a CUDA graph; at a learning rate of 0 the calls before it change only what the first epoch resets."""
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self._update()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._update()
        return graph

    def _update(self) -> None:
        for weight in self.network.parameters():
            if weight.grad is not None:
                weight.grad.zero_()
        logits, states = self.network(self.x, self.states)
        loss = cross_entropy(logits, self.y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe["clipnorm"])
        self.optimizer.step()
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.network.parameters()):
                mean.copy_(mean * self.decay + weight * (1 - self.decay))
            for kept, new in zip(self.states, states):
                kept.copy_(new.detach())
            self.loss.copy_(loss.detach())

    def step(self) -> None:
        """Train on the next batch."""
        place = self.done % self.per_epoch
        if place == 0:
            offset = int(self.random.integers(self.length))
            count = (len(self.text) - offset - 1) // self.rows
            self.lanes = [
                self.text[start : start + self.rows * count].view(self.rows, count) for start in (offset, offset + 1)
            ]
            for state in self.states:
                state.zero_()
        rate = learning_rate(self.done, self.total, self.recipe)
        self.rate.fill_(rate)
        self.decay.fill_(min(self.recipe["average"], (self.done + 1) / (self.done + 10)))
        for target, lane in zip((self.x, self.y), self.lanes):
            target.copy_(lane[:, place * self.length : (place + 1) * self.length])
        for state in self.states:
            state[:, : int(self.rows * self.recipe["fresh_rows"])].zero_()
        if self.graph is None:
            self.optimizer.param_groups[0]["lr"] = rate
            self._update()
        else:
            self.graph.replay()
        self.done += 1


def learning_rate(step: int, steps: int, recipe: Mapping[str, Any]) -> float:
    """Warm-up, then cosine decay to zero."""
    warmup = max(1, round(recipe["warmup"] * steps))
    if step < warmup:
        return recipe["learning_rate"] * step / warmup
    return recipe["learning_rate"] * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def train_all(trainings: list[Training]) -> None:
    """Train all to their end, on a GPU side by side."""
    rounds = 0
    while any(training.done < training.total for training in trainings):
        for training in trainings:
            if training.done >= training.total:
                continue
            with torch.cuda.stream(training.stream):  # does nothing for None
                training.step()
        rounds += 1
        if DEVICE == "cuda" and rounds % 8 == 0:
            torch.cuda.synchronize()  # not more than that many steps in the queue
        if rounds % 1000 == 0:
            print(rounds, *(f"{float(training.loss):.3f}" for training in trainings), flush=True)


def keras_model(network: Network, config: RunConfig, vocabulary: list[str]) -> keras.Model:
    """Return the model of the zoo with the weights of the network."""
    model = language.build(**{"vocabulary": vocabulary, **config.build})
    state = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    model.get_layer("alphabet").set_weights([state["embedding.weight"]])
    memory = keras_gates.from_torch(network.memory.cpu())
    model.get_layer("memory_1").set_weights(memory.get_weights())
    model.get_layer("next").set_weights([state["next.weight"].T, state["next.bias"]])
    return model


def main() -> None:
    """Train the presets with the seeds, score them and write their run folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="folder with train.txt, valid.txt and test.txt")
    parser.add_argument("--presets", nargs="+", default=["large"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    text = corpus.own_corpus(arguments.text)
    vocabulary, parts = text.numbered("character", 10_000)
    train, validation, test = (torch.tensor(np.asarray(part, "int64"), device=DEVICE) for part in parts)
    epochs = ["--epochs", str(arguments.epochs)] if arguments.epochs else []
    trainings = []
    for preset in arguments.presets:
        for seed in arguments.seeds:
            line = ["language", "--preset", preset, "--data", "tfds", "--seed", str(seed), *epochs]
            config = options.configuration(options.parser().parse_args(line))
            trainings.append(Training(config, train, len(vocabulary)))
    start = time.perf_counter()
    train_all(trainings)
    for training in trainings:
        write_run(training, vocabulary, validation, test, time.perf_counter() - start, arguments.out)


def write_run(
    training: Training, vocabulary: list[str], validation: torch.Tensor, test: torch.Tensor, seconds: float, out: Path
) -> None:
    """Score a trained model and write its run folder."""
    config, average = training.config, training.average
    nats = evaluate(average, test)
    scores = {"bits per character": nats / math.log(2), "loss": nats}
    bits = evaluate(average, validation) / math.log(2)
    folder = out / f"language-{config.preset}-{config.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    model = keras_model(average, config, vocabulary)
    model.save(folder / "model.keras")
    gpu = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    metrics = {
        "config": {**config.to_dict(), "recipe": training.recipe, "backend": "torch"},
        "scores": scores,
        "validation bits per character": bits,
        "data": {"name": "tiny_shakespeare"},
        "parameters": model.count_params(),
        "seconds": {"training of all models": seconds},
        "versions": {name: version(name) for name in ("keras", "torch", "numpy")}
        | {"python": platform.python_version()},
        "trained_by": f"benchmarks/language_gpu.py on one {gpu}",
    }
    write_json(folder / "metrics.json", metrics)
    print(folder, scores, f"validation {bits:.4f}", flush=True)


if __name__ == "__main__":
    main()
