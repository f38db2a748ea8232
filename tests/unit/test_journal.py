"""The journal of events: numbers, the file, its bound, and what happens when it can't be written."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import stat
from pathlib import Path
from typing import Any

import pytest

from ipymesos.daemon.journal import Journal, older, read
from ipymesos.daemon.vocabulary import Happening

AT = 1_000_000_000.25


def journal(path: Path, fresh: bool = False, limit: int = 1000) -> Journal:
    return Journal(path, lambda: AT, fresh, limit)


def fill(of: Journal, *words: str) -> list[dict[str, Any]]:
    return [of.add(Happening("waiting", word)) for word in words]


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["seq"] for event in events]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "ipymesos-events.jsonl"


def test_an_event_has_a_number_and_a_time(path: Path) -> None:
    kept = journal(path)
    event = kept.add(Happening("stopping", "stopping: enough", reason="enough"))
    assert event == {
        "seq": 1,
        "at": "2001-09-09T01:46:40.250Z",
        "kind": "stopping",
        "text": "stopping: enough",
        "reason": "enough",
    }
    assert path.read_text() == json.dumps(event) + "\n" and read(path) == [event]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_events_after_a_number(path: Path) -> None:
    kept = journal(path)
    events = fill(kept, "a", "b", "c")
    assert kept.after(0) == events and kept.after(2) == events[2:] and kept.after(3) == kept.after(99) == []


def test_another_scheduler_goes_on_with_them(path: Path) -> None:
    first = journal(path)
    old = fill(first, "a", "b")
    first.close()
    second = journal(path)
    new = fill(second, "c")
    assert numbers(second.after(0)) == [1, 2, 3] and read(path) == [*old, *new]


def test_a_new_cluster_begins_without_the_events_of_the_former_one_but_goes_on_counting(path: Path) -> None:
    fill(journal(path), *"abcdefghijklmnop")  # more than one file
    assert older(path).exists()
    kept = journal(path, fresh=True)
    assert kept.after(0) == [] and read(path) == []
    assert numbers(fill(kept, "a")) == [17]


def test_files_and_memory_are_bounded(path: Path) -> None:
    kept = journal(path, limit=1000)
    for i in range(200):
        kept.add(Happening("waiting", f"event {i}"))
    assert path.stat().st_size <= 1000 and older(path).stat().st_size <= 1000
    assert sorted(p.name for p in path.parent.iterdir()) == ["ipymesos-events.1.jsonl", "ipymesos-events.jsonl"]
    known = numbers(kept.after(0))
    assert known[-1] == 200 and 10 < len(known) < 30 and known == list(range(known[0], 201))
    assert numbers(read(path, 1000))[-1] == 200
    assert numbers(journal(path, limit=1000).after(0))[-1] == 200


def test_an_event_larger_than_the_bound_is_kept(path: Path) -> None:
    kept = journal(path, limit=1000)
    fill(kept, "a", "x" * 3000)
    assert numbers(kept.after(0)) == [2]
    fill(kept, "b")
    assert numbers(kept.after(0)) == [3] and read(path, 1000)[-1]["text"] == "b"


@pytest.mark.parametrize("end", ["", '{"seq": 2, "at"', '{"seq": 2, "at": "t", "kind": "k", "text": "t"}', "\x00" * 9])
def test_what_was_torn_when_the_scheduler_was_killed_is_skipped(path: Path, end: str) -> None:
    whole = fill(journal(path), "a")
    with path.open("a") as file:
        file.write(end)
    kept = journal(path)
    new = fill(kept, "b")
    assert [event["text"] for event in read(path) if event["text"] != "t"] == ["a", "b"]
    assert kept.after(0)[0] == whole[0] and kept.after(0)[-1] == new[0]


def test_a_full_disk_stops_nothing_and_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")  # which isn't followed
    kept = journal(path)
    fill(kept, "a", "b")
    assert kept.trouble and kept.unwritten == 2 and numbers(kept.after(0)) == [1, 2]
    assert len([record for record in caplog.records if "can't be kept" in record.getMessage()]) == 1
    path.unlink()
    fill(kept, "c")
    assert kept.trouble == "" and [event["text"] for event in read(path)] == ["c"]


def test_a_write_that_comes_out_short_tears_nothing_else(path: Path) -> None:
    kept = journal(path)
    fill(kept, "a")
    soft, hard = resource_limit(path.stat().st_size + 20)
    try:
        fill(kept, "b")
        assert kept.trouble and kept.unwritten == 1
    finally:
        restore(soft, hard)
    fill(kept, "c")
    assert kept.trouble == "" and [event["text"] for event in read(path)] == ["a", "c"]


def resource_limit(size: int) -> tuple[int, int]:
    """Files can't grow beyond `size` bytes, which looks as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    return soft, hard


def restore(soft: int, hard: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_of_somebody_else_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    kept = journal(path)
    fill(kept, "a")
    assert kept.trouble and read(path) == [] and numbers(kept.after(0)) == [1]


def test_waiting_for_news(path: Path) -> None:
    async def story() -> None:
        kept = journal(path)
        fill(kept, "a")
        await kept.wait(0, 60)  # there are some
        await kept.wait(1, 0.01)  # there are none
        for end in (lambda: fill(kept, "b"), kept.close):
            waiting = asyncio.ensure_future(kept.wait(kept.last, 60))
            await asyncio.sleep(0)
            assert not waiting.done()
            end()
            await asyncio.wait_for(waiting, 10)
        await kept.wait(99, 60)  # nothing will come any more

    asyncio.run(story())
