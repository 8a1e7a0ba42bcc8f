"""keep_freed_memory: the page faults that the system counts, in a process that takes and frees the same array again and again."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from keras_gates.models.training import memory
if sys.argv[1] == "kept":
    assert memory.keep_freed_memory()
np.ones(40 << 20, "uint8")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(40 << 20, "uint8")
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_an_array_that_is_taken_again_costs_no_page_faults():
    def faults(how):
        command = [sys.executable, "-c", PROGRAM, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("kept") < faults("default") / 10
