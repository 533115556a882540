"""Memory that is free again is the system's again."""

import ctypes
import subprocess
import sys

import pytest

from fusion_bench.weights import heap

# blocks of 1 MiB, which come from the heap once a larger one was freed; all but the last are freed below it
FREED = """
import re, numpy as np
from fusion_bench.weights.heap import give_back
def held():
    with open("/proc/self/status") as status:
        return int(re.search("RssAnon:.*?([0-9]+)", status.read()).group(1)) // 1024
del_me = np.ones(30 * 2**17); del del_me
blocks = [np.ones(2**17) for _ in range(200)]
del blocks[:-1]
before = held()
give_back()
print(before - held())
"""


RETURNED = """
import re, numpy as np
from fusion_bench.weights.heap import returning
def held():
    with open("/proc/self/status") as status:
        return int(re.search("RssAnon:.*?([0-9]+)", status.read()).group(1)) // 1024
del_me = np.ones(30 * 2**17); del del_me
with returning(True):
    blocks = [np.ones(2**18) for _ in range(100)]
    before = held()
    del blocks[:-1]
    print(before - held())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_while_memory_is_tight_what_is_freed_is_given_back_at_once():
    done = subprocess.run([sys.executable, "-c", RETURNED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 180


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_what_was_freed_below_a_block_in_use_is_given_back():
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 150


def test_where_the_c_library_cannot_nothing_happens(monkeypatch):
    def other(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", other)
    heap._routine.cache_clear()
    heap.give_back()
    with heap.returning(True):
        pass
    heap._routine.cache_clear()
