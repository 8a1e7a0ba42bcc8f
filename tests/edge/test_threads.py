"""One EdgeModel in several threads and processes, pickled and copied: the answers are those of one thread."""

import copy
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from exported import TIME, X, exported

from keras_gates.edge import EdgeModel

THREADS, CALLS = 8, 50
NAMES = ["float", "int8", "article_int8"]


def in_threads(function):
    """function(thread) in eight threads that start together."""
    start = threading.Barrier(THREADS)

    def run(thread):
        start.wait()
        return function(thread)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.mark.parametrize("name", NAMES)
def test_threads_share_a_model(name):
    model = EdgeModel(exported(name).path)
    wanted = [model.predict(x[None]) for x in X]
    for thread, results in enumerate(
        in_threads(lambda thread: [model.predict(X[(thread + i) % len(X)][None]) for i in range(CALLS)])
    ):
        for i, result in enumerate(results):
            np.testing.assert_array_equal(result, wanted[(thread + i) % len(X)])


@pytest.mark.parametrize("name", ["stream", "micro", "article_int8"])
def test_each_thread_has_its_own_stream(name):
    model = EdgeModel(exported(name).path)
    wanted = [model.stream().push(x) for x in X[:THREADS]]

    def run(thread):
        stream = model.stream()
        results = []
        for _ in range(CALLS // TIME + 1):
            stream.reset()
            results.append([stream.push(event) for event in X[thread]])
        return results

    for thread, results in enumerate(in_threads(run)):
        for result in results:
            np.testing.assert_array_equal(result, wanted[thread])


@pytest.mark.parametrize("name", ["stream", "article_int8"])
def test_threads_share_a_stream(name):
    """Pushing one event 400 times gives 400 predictions in whatever order the threads come; each occurs once."""
    model = EdgeModel(exported(name).path)
    alone, shared = model.stream(smooth=3), model.stream(smooth=3)
    wanted = np.stack([alone.push(X[0, 0]) for _ in range(THREADS * CALLS)])
    got = np.concatenate(in_threads(lambda _: [shared.push(X[0, 0]) for _ in range(CALLS)]))
    np.testing.assert_array_equal(np.unique(got, axis=0), np.unique(wanted, axis=0))
    assert shared.count == THREADS * CALLS
    for key, value in alone.state.items():
        np.testing.assert_array_equal(shared.state[key], value)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("name", ["stream", "article_int8"])
def test_a_copy_of_a_model_predicts_the_same(name, again):
    model = EdgeModel(exported(name).path)
    other = again(model)
    np.testing.assert_array_equal(other.predict(X[:3]), model.predict(X[:3]))
    np.testing.assert_array_equal(other.stream().push(X[0]), model.stream().push(X[0]))
    assert other.info() == model.info()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("name", ["stream", "micro", "article_int8"])
def test_a_copy_of_a_stream_continues_from_the_same_state_and_apart(name, again):
    stream, wanted = (EdgeModel(exported(name).path).stream(smooth=3, threshold=0.3) for _ in range(2))
    stream.push(X[0, :5])
    wanted.push(X[0, :5])
    other = again(stream)
    stream.push(X[1])
    assert other.count == 5
    assert other.detect(X[0, 5:]) == wanted.detect(X[0, 5:])
    np.testing.assert_array_equal(other.push(X[2]), wanted.push(X[2]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("name", ["stream", "article_int8"])
def test_model_and_stream_go_on_in_a_forked_process(name, num_threads):
    """Also with interpreters of other threads, which do not exist in the child, and with their lock held at the fork."""
    model = EdgeModel(exported(name).path, num_threads=num_threads)
    predicted, (stream, alone) = model.predict(X[:3]), (model.stream(), model.stream())
    stream.push(X[0, :5])
    alone.push(X[0, :5])
    wanted = alone.push(X[0, 5:])
    ready, done = threading.Event(), threading.Event()

    def hold():
        model.predict(X[:1])
        with stream._runtime.lock:
            ready.set()
            done.wait()

    other = threading.Thread(target=hold)
    other.start()
    ready.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a deadlock ends the child
        equal = np.array_equal(model.predict(X[:3]), predicted) and np.array_equal(stream.push(X[0, 5:]), wanted)
        del model, stream, alone
        os._exit(0 if equal else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    done.set()
    other.join()
    assert status == 0
    np.testing.assert_array_equal(stream.push(X[0, 5:]), wanted)
