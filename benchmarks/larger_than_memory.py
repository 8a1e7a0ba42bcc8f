"""Training from TFRecord and ArrayRecord shards that are larger than the memory the process takes, measured.

    python benchmarks/larger_than_memory.py [--gigabytes 2] [--format tfrecord arrayrecord]

Writes shards once for a small and once for a large data set, goes over each with the loader below in a process of its own, and
prints the memory that the process had to itself at most: the same where nothing is held but a buffer and a few batches. (What an
ArrayRecord file has in memory beyond that are pages of the file, which the system takes back when it needs them.)
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TIME, FEATURES, A_SHARD = 100, 64, 2_000


def write(folder, shards, kind):
    """`shards` files of A_SHARD examples each, (TIME, FEATURES) float32 with one target."""
    import numpy as np

    for number in range(shards):
        x = np.random.default_rng(number).normal(size=(A_SHARD, TIME, FEATURES)).astype("float32")
        path = Path(folder) / f"shard-{number:05d}-of-{shards:05d}.{kind}"
        file = _writer(f"{path}.tmp", kind)
        for example in x:
            file.write(example.tobytes() + np.float32(example[:, 0].mean()).tobytes())
        file.close()
        os.replace(f"{path}.tmp", path)


def _writer(path, kind):
    if kind == "tfrecord":
        import tensorflow as tf

        return tf.io.TFRecordWriter(path)
    from array_record.python.array_record_module import ArrayRecordWriter

    return ArrayRecordWriter(path, "group_size:1")


def load(folder, batch, seed=1, shuffle=1_000):
    """Batches of (x, y) from all TFRecord shards of `folder`: the shards in an order of their own, read two at a time, examples
    shuffled within a buffer; no more than that is in memory."""
    import tensorflow as tf

    def read(record):
        numbers = tf.io.decode_raw(record, tf.float32)
        return tf.reshape(numbers[:-1], (TIME, FEATURES)), numbers[-1:]

    shards = tf.data.Dataset.list_files(f"{folder}/*.tfrecord", shuffle=True, seed=seed)
    records = shards.interleave(tf.data.TFRecordDataset, cycle_length=2, num_parallel_calls=2, deterministic=True)
    return records.shuffle(shuffle, seed=seed).map(read, num_parallel_calls=2).batch(batch).prefetch(2)


def load_by_number(folder, batch, seed=1):
    """Batches of (x, y) from all ArrayRecord shards of `folder`, shuffled over all of them: an ArrayRecord is read by its
    number, so that the order is all that is held."""
    import numpy as np
    import tensorflow as tf
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    records = ArrayRecordDataSource(sorted(str(path) for path in Path(folder).glob("*.arrayrecord")))
    order = np.random.default_rng(seed).permutation(len(records))

    def batches():
        for start in range(0, len(order), batch):
            read = records.__getitems__(order[start : start + batch].tolist())
            numbers = np.stack([np.frombuffer(record, "float32") for record in read])
            yield numbers[:, :-1].reshape(-1, TIME, FEATURES), numbers[:, -1:]

    kinds = (tf.TensorSpec((None, TIME, FEATURES), tf.float32), tf.TensorSpec((None, 1), tf.float32))
    return tf.data.Dataset.from_generator(batches, output_signature=kinds).prefetch(2)


def own_memory():
    """MB that this process has to itself now: without what it shares with files."""
    told = dict(
        line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Rss")
    )
    return int(told["RssAnon"].split()[0]) / 1024


def measure(folder, kind, answer):
    """Trains one epoch; puts (examples, seconds, peak of this process' own memory in MB) into `answer`."""
    import keras
    import tensorflow as tf

    import keras_gates

    model = keras.Sequential([keras.Input((TIME, FEATURES)), keras_gates.GateLSTM(8), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    batches = {"tfrecord": load, "arrayrecord": load_by_number}[kind](folder, 256)
    peak, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.1):
            peak[0] = max(peak[0], own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    model.fit(batches, verbose=0)
    seconds = time.perf_counter() - start
    examples = int(batches.reduce(tf.constant(0), lambda count, batch: count + tf.shape(batch[1])[0]))
    done.set()
    watcher.join()
    answer.put((examples, seconds, peak[0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--gigabytes", type=float, default=2.0, help="size of the larger data set (default: %(default)s)"
    )
    parser.add_argument("--format", nargs="*", default=["tfrecord", "arrayrecord"], choices=("tfrecord", "arrayrecord"))
    given = parser.parse_args()
    shard = A_SHARD * (TIME * FEATURES + 1) * 4
    large = max(2, round(given.gigabytes * 1e9 / shard))
    context = multiprocessing.get_context("spawn")
    for kind in given.format:
        for shards in (large // 8 or 1, large):
            with tempfile.TemporaryDirectory() as folder:
                write(folder, shards, kind)
                answer = context.Queue()
                process = context.Process(target=measure, args=(folder, kind, answer))
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(f"the training process ended with {process.exitcode}")
                examples, seconds, peak = answer.get()
            size = f"{shards * shard / 1e9:.2f} GB in {shards} shards, {examples:,} examples"
            print(f"{kind}, {size}: {seconds:.0f} s, peak {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
