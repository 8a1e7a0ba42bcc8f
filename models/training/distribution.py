"""`--distribute`: data-parallel training on the devices of one host, or in processes on several hosts.

The content of an epoch follows from (seed, epoch) alone. Every process makes the same batches and trains on its own share of
each: no example is used twice, and the weights equal those of a single process with the same batches.
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

from keras_gates.models.lazy import jax, keras, tf
from keras_gates.models.registry import UserError

KINDS = ("mirrored", "jax")
LOST = ("Gloo", "onnection", "heartbeat", "UNAVAILABLE", "DEADLINE_EXCEEDED")


@dataclass(frozen=True)
class Job:
    """The role of this process in a training.

    Attributes:
        processes: number of processes.
        process: index of this one. Process 0 writes the run folder and exports; the others write nothing.
        devices: number of devices of all processes.
        strategy: the `tf.distribute.Strategy` under which the model is built, or None.
    """

    processes: int = 1
    process: int = 0
    devices: int = 1
    strategy: Any = None

    @property
    def writes(self) -> bool:
        """Whether this process writes the run folder."""
        return self.process == 0

    def scope(self) -> Any:
        """Return the context in which the model is built and compiled."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Suspend Keras' distribution for work of a single process: saving a model creates variables, which would be
        sharded."""
        shared = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(shared)

    def check(self, model: Any) -> None:
        """Check that the model can be trained data-parallel.

        Raises:
            UserError: a layer is stateful: a share of a batch would continue the memory of other rows.
        """
        stateful = [layer.name for layer in model.layers if getattr(layer, "stateful", False)]
        if self.devices > 1 and stateful:
            raise UserError(
                f"{stateful[0]} is stateful and cannot be trained data-parallel; train it without --distribute"
            )

    def prepare(self, model: Any) -> list[Any]:
        """Make the optimizer of a model compiled under a strategy compute what it computes on a single device.

        Without this, Keras clips each device's gradient before it adds them up; and if the number of batches is not known in
        advance, the end of an epoch counts as an optimizer step, which shifts Adam's bias correction and schedules.

        Returns:
            Callbacks for `model.fit`.
        """
        if self.strategy is None:
            return []
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
        """Return a `tf.data.Dataset` of this process's share of every batch.

        A batch that cannot be divided evenly among the devices (the last one of an epoch) loses the remainder: fewer examples
        than devices, different ones in every epoch.
        """
        if self.devices == 1:
            return batches

        def rows(batch: Any) -> Any:
            return tf.shape(tf.nest.flatten(batch)[0])[0]

        def mine(*batch: Any) -> Any:
            size = rows(batch) // self.devices * (self.devices // self.processes)
            return tf.nest.map_structure(lambda t: t[self.process * size : (self.process + 1) * size], batch)

        warnings.filterwarnings(
            "ignore", "Your input ran out of data"
        )  # the number of non-empty shares is known only at the end
        return batches.map(mine, num_parallel_calls=tf.data.AUTOTUNE).filter(lambda *batch: rows(batch) > 0).prefetch(2)

    def lost(self, error: BaseException, folder: Any) -> None:
        """Print what to do after an error in one of several processes, and end this process.

        Without clean-up, because JAX' shutdown would wait for the process that is gone.
        """
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if any(word in str(error) for word in LOST):
            reason = f"another process ended ({reason})"
        else:
            traceback.print_exception(error)
        print(
            f"train.py: process {self.process} of {self.processes} cannot continue: {reason}.\n"
            f"Start all processes again with --resume {folder or 'RUN'}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    def leave(self) -> None:
        """End the distributed part, after all processes have trained; process 0 does the rest."""
        if self.processes > 1:
            jax.distributed.shutdown()


ALONE = Job()


def start(kind: str | None, devices: int | None, hosts: str | None, process: int | None) -> Job:
    """Join the distributed training. Must be called before any computation.

    Args:
        kind: "mirrored" (tf.distribute over the devices of this host), "jax" (keras.distribution over all devices of all
            processes), or None.
        devices: for "mirrored": number of devices; None is all GPUs. Without a GPU, virtual CPU devices.
        hosts: for "jax": HOST:PORT of each process, comma-separated; the first one coordinates.
        process: for "jax": index of this process, from 0.

    Returns:
        The role of this process.

    Raises:
        UserError: an argument is missing or invalid, the backend does not fit, or the processes cannot connect.
    """
    if kind is None:
        return ALONE
    needed = {"mirrored": "tensorflow", "jax": "jax"}[kind]
    if keras.backend.backend() != needed:
        raise UserError(
            f"--distribute {kind} needs the {needed} backend; the current one is {keras.backend.backend()}: "
            f"KERAS_BACKEND={needed} python train.py … --distribute {kind}"
        )
    return _mirrored(devices) if kind == "mirrored" else _processes(hosts, process)


def _clip_the_sum(optimizer: Any) -> None:
    """Clip the gradient of the whole batch instead of each device's. The optimizer then gets each device's part of the
    clipped sum, which its own clipping leaves unchanged."""
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
    names = [device.name.replace("/physical_device:", "/") for device in tf.config.list_physical_devices("GPU")]
    if not names:
        count = count or 1
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        names = [f"/CPU:{number}" for number in range(count)]
    if count and count > len(names):
        raise UserError(f"--devices {count}: this machine has {len(names)} ({', '.join(names)})")
    strategy = tf.distribute.MirroredStrategy(names[:count])
    return Job(devices=strategy.num_replicas_in_sync, strategy=strategy)


def _processes(hosts: str | None, process: int | None) -> Job:
    addresses = [address.strip() for address in (hosts or "").split(",") if address.strip()]
    if not addresses or process is None:
        raise UserError(
            "--distribute jax needs --hosts HOST:PORT,HOST:PORT,… and --process-id N, a different N for each process"
        )
    if not all(":" in address for address in addresses):
        raise UserError(f"--hosts expects HOST:PORT for every process, got {hosts}")
    if not 0 <= process < len(addresses):
        raise UserError(
            f"--process-id must be from 0 to {len(addresses) - 1}, as --hosts names {len(addresses)}; got {process}"
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        keras.distribution.initialize(",".join(addresses), len(addresses), process)
    except RuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the {len(addresses)} processes could not connect at {addresses[0]}: {reason[:200]}"
        ) from error
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return Job(processes=len(addresses), process=process, devices=jax.device_count())
