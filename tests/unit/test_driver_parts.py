"""The driver's parts that need no network."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipymesos.driver import patience as patience_module
from ipymesos.driver.patience import Patience
from ipymesos.driver.stream import Interrupted, RecordIO, StreamError, Waker

IMPORT = """
import logging, signal, threading
{before}
handler, level = signal.getsignal(signal.SIGINT), logging.getLogger("pymesos").level
errors = []
def work():
    try:
        import ipymesos.driver
    except BaseException as error:
        errors.append(error)
{call}
assert not errors, errors
import pymesos
assert signal.getsignal(signal.SIGINT) is handler, signal.getsignal(signal.SIGINT)
assert not logging.getLogger("pymesos").handlers and logging.getLogger("pymesos").level == level
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as good as ever
assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
"""


@pytest.mark.parametrize("before", ["", "signal.signal(signal.SIGINT, signal.SIG_IGN)"])
@pytest.mark.parametrize("call", ["work()", "t = threading.Thread(target=work); t.start(); t.join()"])
def test_importing_pymesos_changes_nothing_else(before: str, call: str) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT.format(before=before, call=call)], capture_output=True)
    assert done.returncode == 0 and done.stderr == b"", done.stderr.decode()


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in zip(places, places[1:], strict=False)]


def framed(records: list[bytes]) -> bytes:
    return b"".join(b"%d\n%s" % (len(r), r) for r in records)


@given(st.lists(st.binary(max_size=30), max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_records_come_out_whole_however_they_are_cut(records: list[bytes], cuts: list[int]) -> None:
    reader = RecordIO()
    assert [r for part in cut(framed(records), cuts) for r in reader.feed(part)] == records


@pytest.mark.parametrize(
    "data", [b"x", b"{", b"12x", b"\n", b"-1\n", b"1" * 25, b"99999999999\n", b"3\nabc\n", b" 3\nabc"]
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_no_recordio_is_refused(data: bytes, whole: bool) -> None:
    reader = RecordIO()
    with pytest.raises(StreamError):
        for part in [data] if whole else cut(data, list(range(len(data)))):
            list(reader.feed(part))


def test_reading_takes_time_in_proportion() -> None:
    """A record of 64 MB in 16384 parts: with a copy of the rest for each part these would be 512 GB."""
    part, parts = b"x" * 4096, 16384
    reader, began = RecordIO(), time.monotonic()
    assert list(reader.feed(b"%d\n" % (len(part) * parts))) == []
    found = [len(record) for _ in range(parts) for record in reader.feed(part)]
    assert found == [len(part) * parts]
    assert time.monotonic() - began < 5


def test_a_waker_interrupts_and_remembers() -> None:
    waker = Waker()
    assert waker.wait(None, 0, 0.01) is False
    threading.Thread(target=waker.wake).start()
    with pytest.raises(Interrupted):
        waker.wait(None, 0, 10)
    with pytest.raises(Interrupted):
        waker.wait(None, 0, 10)
    waker.clear()
    assert waker.wait(None, 0, 0.01) is False
    for _ in range(100_000):  # more than the pipe holds
        waker.wake()
    waker.clear()
    assert waker.wait(None, 0, 0.01) is False


def test_a_waker_leaves_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        Waker()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_waits_grow_to_their_bounds_with_jitter() -> None:
    patience = Patience(limit=1000)
    at_first = [patience.failure() for _ in range(10)]
    assert 0.05 <= at_first[0] <= 0.1 and 0.1 <= at_first[1] <= 0.2
    assert all(1.0 <= seconds <= 2.0 for seconds in at_first[5:])
    patience.success()
    later = [patience.failure() for _ in range(2000)]
    assert all(7.5 <= seconds <= 15.0 for seconds in later)
    assert len(set(later)) > 1000


def test_only_a_success_that_lasted_makes_failures_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Patience(limit=1000)
    for _ in range(5):
        patience.failure()
    patience.success()
    patience.over()
    assert patience.failures == 5
    monkeypatch.setattr(patience_module, "STEADY", 0.0)
    patience.over()
    assert patience.failure() <= 0.1


def test_patience_ends_once_and_only_before_the_first_success() -> None:
    patience = Patience(limit=0.0)
    assert patience.left is not None and patience.left <= 0
    assert patience.failure() == 0.0
    assert patience.until(10) <= time.monotonic()
    patience.success()
    assert patience.left is None and patience.until(10) > time.monotonic() + 9
