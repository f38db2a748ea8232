"""A file of events that something else has written, or half of something."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from ipymesos.cli.events import line
from ipymesos.daemon.journal import Journal, older, read
from ipymesos.daemon.vocabulary import Happening
from tests.property.fuzz import ANY, damaged, fuzz, wrong

EVENTS = [
    {"seq": 1, "at": "2026-01-01T00:00:00.000Z", "kind": "scheduler_started", "text": "begins", "wanted": 2},
    {"seq": 2, "at": "2026-01-01T00:00:01.000Z", "kind": "engines_ended", "text": "one", "group": "a", "tasks": ["e-1"],
     "agents": ["h"], "reason": "killed by SIGSEGV", "cause": "signal", "asked": False, "running": 1, "wanted": 2},
]  # fmt: skip
GOOD = [json.dumps(event).encode() for event in EVENTS]
lines = (
    st.sampled_from(GOOD)
    | wrong(EVENTS).map(lambda event: json.dumps(event).encode())
    | ANY.map(lambda value: json.dumps(value).encode())
    | st.composite(lambda draw: damaged(draw, draw(st.sampled_from(GOOD))))()
    | st.binary(max_size=50)
)
files = st.lists(lines, max_size=6).flatmap(
    lambda parts: st.sampled_from([b"\n".join(parts), b"\n".join(parts) + b"\n", b"\n".join(parts)[:-3]])
)


@fuzz(6)
@given(files, files)
@example(b"[" * 100_000, b"9" * 5000)
@example(b'{"seq": 1e999, "at": "", "kind": "", "text": ""}', b'{"seq": true, "at": "", "kind": "", "text": ""}')
@example(b'{"seq": 5, "at": "", "kind": "", "text": "", "x": NaN}', b'{"seq": 9, "at": "9999", "kind": "", "text": ""}')
@example(b'{"seq": 1, "at": "0001-01-01T00:00:00Z", "kind": "\\ud800", "text": "\\ud800"}', b"")
def test_event_files(first: bytes, second: bytes) -> None:
    """Whatever is in them: events with growing numbers, which can be shown, and gone on with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        older(path).write_bytes(first)
        path.write_bytes(second)
        events = read(path)
        numbers = [event["seq"] for event in events]
        assert numbers == sorted(set(numbers))
        assert [json.loads(json.dumps(event)) for event in events] == events
        assert all(line(event).isprintable() and line(event).encode() is not None for event in events)
        journal = Journal(path, lambda: 0.0)
        assert journal.after(0) == events
        new = journal.add(Happening("stopped", "the end"))
        journal.close()
        assert new["seq"] > max(numbers, default=0) and read(path) == [*events, new]
