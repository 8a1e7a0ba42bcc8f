"""Training from TFRecord shards that are larger than the memory the process takes, measured.

    python benchmarks/larger_than_memory.py [--gigabytes 2]

Writes shards once for a small and once for a large data set, goes over each with the loader below in a process of its own,
and prints both peaks of memory: they are the same where nothing is held but the shuffle's buffer and a few batches.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TIME, FEATURES, A_SHARD = 100, 64, 2_000


def write(folder, shards):
    """`shards` files of A_SHARD examples each, (TIME, FEATURES) float32 with one target."""
    import numpy as np
    import tensorflow as tf

    for number in range(shards):
        x = np.random.default_rng(number).normal(size=(A_SHARD, TIME, FEATURES)).astype("float32")
        path = Path(folder) / f"shard-{number:05d}-of-{shards:05d}.tfrecord"
        with tf.io.TFRecordWriter(str(path) + ".tmp") as file:
            for example in x:
                target = np.float32(example[:, 0].mean())
                file.write(example.tobytes() + target.tobytes())
        os.replace(str(path) + ".tmp", path)


def load(folder, batch, seed=1, shuffle=1_000):
    """Batches of (x, y) from all shards of `folder`: the shards in an order of their own, read two at a time, the examples
    shuffled within a buffer; no more than that is in memory."""
    import tensorflow as tf

    def read(record):
        numbers = tf.io.decode_raw(record, tf.float32)
        return tf.reshape(numbers[:-1], (TIME, FEATURES)), numbers[-1:]

    shards = tf.data.Dataset.list_files(f"{folder}/*.tfrecord", shuffle=True, seed=seed)
    records = shards.interleave(tf.data.TFRecordDataset, cycle_length=2, num_parallel_calls=2, deterministic=True)
    return records.shuffle(shuffle, seed=seed).map(read, num_parallel_calls=2).batch(batch).prefetch(2)


def measure(folder, answer):
    """Trains one epoch; puts (examples, seconds, peak of this process in MB) into `answer`."""
    import keras
    import tensorflow as tf

    import keras_gates

    model = keras.Sequential([keras.Input((TIME, FEATURES)), keras_gates.GateLSTM(8), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    batches = load(folder, 256)
    start = time.perf_counter()
    model.fit(batches, verbose=0)
    seconds = time.perf_counter() - start
    examples = int(batches.unbatch().reduce(tf.constant(0, tf.int64), lambda count, *_: count + 1))
    answer.put((examples, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--gigabytes", type=float, default=2.0, help="size of the larger data set (default: %(default)s)"
    )
    shard = A_SHARD * (TIME * FEATURES + 1) * 4
    large = max(2, round(parser.parse_args().gigabytes * 1e9 / shard))
    context = multiprocessing.get_context("spawn")
    for shards in (large // 8 or 1, large):
        with tempfile.TemporaryDirectory() as folder:
            write(folder, shards)
            answer = context.Queue()
            process = context.Process(target=measure, args=(folder, answer))
            process.start()
            examples, seconds, peak = answer.get()
            process.join()
        print(
            f"{shards * shard / 1e9:.2f} GB in {shards} shards, {examples:,} examples: {seconds:.0f} s, peak {peak:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
