"""keras_gates.show_versions: what it prints is what the packages themselves state."""

import platform

import keras
import numpy as np

import keras_gates
from keras_gates import native


def test_show_versions(capsys):
    keras_gates.show_versions()
    lines = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith("native")
    )
    assert lines["python"] == platform.python_version()
    assert (lines["numpy"], lines["keras"]) == (np.__version__, keras.__version__)
    assert lines["backend"] == keras.backend.backend()


def test_it_states_why_the_kernel_is_absent(capsys, monkeypatch):
    monkeypatch.setattr(native, "library", lambda name: None)
    native._loaded.cache_clear()
    try:
        keras_gates.show_versions()
        assert "native kernel   absent: it was not compiled: install keras_gates where a C++" in capsys.readouterr().out
    finally:
        native._loaded.cache_clear()
