"""Is a training over several devices or processes the training of one? Its weights, and what it costs.

    python benchmarks/scale.py [--devices 1 2 4] [--processes 1 2 4]

Runs tests/support/distributed_worker.py alone, mirrored over virtual CPU devices, and as JAX processes on this host, from the
same weights over the same batches (Adam, clipped gradients, a last batch that is smaller). Prints how far the weights are at most
from those of one process, how far the processes are from each other, and the seconds and processor seconds of each job.
"""

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WORKER = Path(__file__).parent.parent / "tests" / "support" / "distributed_worker.py"


def addresses(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    hosts = ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    return hosts


def run(backend, commands):
    """Return the final weights of each process of a job, its wall time and its processor time in seconds."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        job = [
            subprocess.Popen(
                [sys.executable, str(WORKER), folder, *command],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for command in commands
        ]
        for process in job:
            errors = process.communicate()[1]
            if process.returncode:
                raise SystemExit(f"a process ended with {process.returncode}: {errors.decode()[-2000:]}")
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        ends = []
        for number in range(len(commands)):
            with np.load(Path(folder) / f"weights-{number}.npz", allow_pickle=False) as file:
                ends.append([file[name] for name in file.files])
    return ends, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def furthest(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 2, 4], help="mirrored (default: %(default)s)")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4], help="of JAX (default: %(default)s)")
    given = parser.parse_args()
    print("job                   from one process  between them  seconds  of processor", flush=True)

    def tell(name, ends, seconds, processor):
        between = max(furthest(ends[0], other) for other in ends)
        print(
            f"{name:21} {furthest(ends[0], alone):16.1e} {between:13.1e} {seconds:8.0f} {processor:13.0f}", flush=True
        )

    told = run("tensorflow", [["alone"]])
    alone = told[0][0]
    tell("one process", *told)
    for count in given.devices:
        tell(f"mirrored, {count} device(s)", *run("tensorflow", [["mirrored", "--devices", str(count)]]))
    for count in given.processes:
        hosts = addresses(count)
        tell(f"JAX, {count} process(es)", *run("jax", [["jax", hosts, str(number)] for number in range(count)]))


if __name__ == "__main__":
    main()
