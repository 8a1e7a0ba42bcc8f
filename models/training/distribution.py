"""`--distribute`: one training over the devices of a host, or over processes on several hosts.

What an epoch holds follows from (seed, epoch) alone. So every process makes the same batches and takes its own share of
each: no example is seen twice, and the weights become those of one process with the same batches.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_gates.models.registry import UserError

KINDS = ("mirrored", "jax")
LOST = ("Gloo", "onnection", "heartbeat", "UNAVAILABLE", "DEADLINE_EXCEEDED")


@dataclass(frozen=True)
class Job:
    """Where this process stands in a training.

    Attributes:
        processes: how many there are.
        process: which of them this is. Number 0 writes the run's folder and exports; the others write nothing.
        devices: of all processes together.
        strategy: the `tf.distribute.Strategy` under which the model is built, or None.
    """

    processes: int = 1
    process: int = 0
    devices: int = 1
    strategy: Any = None

    @property
    def writes(self) -> bool:
        """Whether this process writes the run's folder."""
        return self.process == 0

    def scope(self) -> Any:
        """The context in which the model is built and compiled."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """The context for what one process does by itself (saving a model makes variables, which are shared out else)."""
        import keras

        shared = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(shared)

    def check(self, model: Any) -> None:
        """Raises `UserError` for a model whose memory goes on from batch to batch: its share of a batch would meet the
        memory of another."""
        stateful = [layer.name for layer in model.layers if getattr(layer, "stateful", False)]
        if self.devices > 1 and stateful:
            raise UserError(f"{stateful[0]} is stateful, which cannot be shared out; train it without --distribute")

    def prepare(self, model: Any) -> list[Any]:
        """Makes a compiled model's optimizer under a strategy the one of a single device; returns the callbacks for that.

        Keras clips what each device has before it adds them up, and where the number of batches is not known beforehand the
        end of an epoch counts as a step of the optimizer, by which Adam and learning rate schedules go.
        """
        if self.strategy is None:
            return []
        import keras

        optimizer = model.optimizer
        if optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue:
            _clip_the_sum(optimizer)
        steps = [int(optimizer.iterations.numpy())]

        def count(batch: int, logs: Any = None) -> None:
            steps[0] += 1

        def correct(epoch: int, logs: Any = None) -> None:
            optimizer.iterations.assign(steps[0])

        return [keras.callbacks.LambdaCallback(on_train_batch_end=count, on_epoch_end=correct)]

    def share(self, batches: Any) -> Any:
        """This process's share of every batch of a `tf.data.Dataset`.

        A batch that the devices cannot divide evenly (the last one of an epoch) loses the remainder: fewer examples than
        there are devices, other ones in every epoch.
        """
        if self.devices == 1:
            return batches
        import tensorflow as tf

        def rows(batch: Any) -> Any:
            return tf.shape(tf.nest.flatten(batch)[0])[0]

        def mine(*batch: Any) -> Any:
            size = rows(batch) // self.devices * (self.devices // self.processes)
            return tf.nest.map_structure(lambda t: t[self.process * size : (self.process + 1) * size], batch)

        warnings.filterwarnings("ignore", "Your input ran out of data")  # how many are left is known only at the end
        return batches.map(mine, num_parallel_calls=tf.data.AUTOTUNE).filter(lambda *batch: rows(batch) > 0).prefetch(2)

    def lost(self, error: BaseException, folder: Any) -> None:
        """Ends this process, where others took part, with what to do about it.

        Without clean-up: what is left of the job would wait for the process that is gone.
        """
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if any(word in str(error) for word in LOST):
            reason = f"another process is gone ({reason})"
        else:
            traceback.print_exception(error)
        print(
            f"train.py: process {self.process} of {self.processes} cannot go on: {reason}.\n"
            f"Start all of them again with --resume {folder or 'RUN'}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    def leave(self) -> None:
        """Ends the job, once all processes have trained: what comes now, one does alone."""
        if self.processes > 1:
            import jax

            jax.distributed.shutdown()


ALONE = Job()


def start(kind: str | None, devices: int | None, hosts: str | None, process: int | None) -> Job:
    """Joins the job; must come before anything is computed.

    Args:
        kind: "mirrored" (tf.distribute over this host's devices), "jax" (keras.distribution over all devices of all
            processes), or None.
        devices: for "mirrored", how many; None is all GPUs. Where there is no GPU, as many virtual CPU devices.
        hosts: for "jax", HOST:PORT of each process with commas between; the first one coordinates.
        process: for "jax", which of them this is, from 0.

    Raises:
        UserError: an argument is missing or does not fit, the backend is another one, or the job does not come together.
    """
    if kind is None:
        return ALONE
    import keras

    needed = {"mirrored": "tensorflow", "jax": "jax"}[kind]
    if keras.backend.backend() != needed:
        raise UserError(
            f"--distribute {kind} needs the {needed} backend, this is {keras.backend.backend()}: "
            f"KERAS_BACKEND={needed} python train.py … --distribute {kind}"
        )
    return _mirrored(devices) if kind == "mirrored" else _processes(hosts, process)


def _clip_the_sum(optimizer: Any) -> None:
    """Has the optimizer clip the gradient of the whole batch. What it is given is then each device's part of the clipped
    sum, which its own clipping leaves alone."""
    import tensorflow as tf

    apply = optimizer.apply

    def clip(sums: list[Any]) -> list[Any]:
        if optimizer.clipnorm:
            return [tf.clip_by_norm(total, optimizer.clipnorm) for total in sums]
        if optimizer.global_clipnorm:
            return tf.clip_by_global_norm(sums, optimizer.global_clipnorm)[0]
        return [tf.clip_by_value(total, -optimizer.clipvalue, optimizer.clipvalue) for total in sums]

    def apply_clipped(grads: Any, trainable_variables: Any = None) -> None:
        grads, devices = list(grads), tf.distribute.get_replica_context()
        known = [place for place, grad in enumerate(grads) if grad is not None]
        sums = devices.all_reduce(tf.distribute.ReduceOp.SUM, [grads[place] for place in known])
        for place, total in zip(known, clip(sums)):
            grads[place] = tf.math.scalar_mul(1.0 / devices.num_replicas_in_sync, total)
        apply(grads, trainable_variables)

    optimizer.apply = apply_clipped


def _mirrored(count: int | None) -> Job:
    import tensorflow as tf

    found = [device.name.replace("/physical_device:", "/") for device in tf.config.list_physical_devices("GPU")]
    if not found:
        count = count or 1
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        found = [f"/CPU:{number}" for number in range(count)]
    if count and count > len(found):
        raise UserError(f"--devices {count}: this machine has {len(found)} ({', '.join(found)})")
    strategy = tf.distribute.MirroredStrategy(found[:count])
    return Job(devices=strategy.num_replicas_in_sync, strategy=strategy)


def _processes(hosts: str | None, process: int | None) -> Job:
    addresses = [address.strip() for address in (hosts or "").split(",") if address.strip()]
    if not addresses or process is None:
        raise UserError(
            "--distribute jax wants --hosts HOST:PORT,HOST:PORT,… and --process-id N, different for each process"
        )
    if not all(":" in address for address in addresses):
        raise UserError(f"--hosts wants HOST:PORT for every process, got {hosts}")
    if not 0 <= process < len(addresses):
        raise UserError(
            f"--process-id must be from 0 to {len(addresses) - 1}, as --hosts names {len(addresses)}; got {process}"
        )
    import jax
    import keras

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        keras.distribution.initialize(",".join(addresses), len(addresses), process)
    except RuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the {len(addresses)} processes did not come together at {addresses[0]}: {reason[:200]}"
        ) from error
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return Job(processes=len(addresses), process=process, devices=jax.device_count())
