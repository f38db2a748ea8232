"""What a client does with each outstanding request when its controller is another one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ipymesos.following.address import Address, ConnectionFile
from ipymesos.following.pending import Pending
from ipymesos.following.plan import Done, Lose, Request, Send, needs, plan, rebase
from ipymesos.paths import write_private

HERE, AWAY = {"a", "b"}, {"c"}


def one(request: Request, settled: bool = True) -> list[Send | Lose]:
    return plan([request], HERE, AWAY, settled)


@pytest.mark.parametrize(("engine", "steps"), [("a", [Send("1", ("a",))]), ("c", []), ("gone", [Lose("1", "gone")])])
def test_what_is_bound_to_an_engine_goes_to_it_or_waits_or_is_lost(engine: str, steps: list[Send | Lose]) -> None:
    assert one(Request("1", "direct", (engine,))) == steps


def test_a_broadcast_goes_to_those_that_are_here() -> None:
    assert one(Request("1", "broadcast", ("a", "c", "gone"))) == [Send("1", ("a",)), Lose("1", "gone")]
    assert one(Request("1", "broadcast", ("c",))) == []
    assert one(Request("1", "broadcast", ())) == []


def test_a_coalescing_one_goes_to_all_or_is_lost_as_a_whole() -> None:
    assert one(Request("1", "coalescing", ("a", "b"))) == [Send("1", ("a", "b"))]
    assert one(Request("1", "coalescing", ("a", "c"))) == []
    assert one(Request("1", "coalescing", ("a", "c", "gone", "gone too"))) == [Lose("1", "gone")]


def test_what_one_has_begun_is_asked_of_that_one() -> None:
    assert one(Request("1", "balanced", started="a", retries=2)) == [Send("1", ("a",), pinned=True, retries=2)]
    assert one(Request("1", "balanced", started="a"), settled=False) == [Send("1", ("a",), pinned=True)]
    assert one(Request("1", "balanced", started="c", retries=2)) == []


def test_what_a_dead_engine_has_begun_runs_again_only_if_retries_allow_it() -> None:
    assert one(Request("1", "balanced", started="gone")) == [Lose("1", "gone")]
    assert one(Request("1", "balanced", started="gone", retries=2)) == [Send("1", retries=1)]
    assert one(Request("1", "balanced", started="gone", retries=2), settled=False) == []


def test_what_nobody_has_begun_waits_until_that_is_certain() -> None:
    assert one(Request("1", "balanced", retries=3)) == [Send("1", retries=3)]
    assert one(Request("1", "balanced"), settled=False) == []
    assert one(Request("1", "balanced", fresh=True), settled=False) == [Send("1")]


@pytest.mark.parametrize(
    ("allowed", "steps"),
    [
        (("a", "gone"), [Send("1", ("a", "gone"))]),
        (("c", "gone"), []),
        (("gone", "gone too"), [Lose("1", "gone")]),
    ],
)
def test_a_balanced_one_for_certain_engines(allowed: tuple[str, ...], steps: list[Send | Lose]) -> None:
    assert one(Request("1", "balanced", allowed)) == steps


def test_what_was_begun_goes_first_and_the_rest_keeps_its_order() -> None:
    requests = [
        Request("1", "balanced"),
        Request("2", "direct", ("a",)),
        Request("3", "balanced", started="b"),
        Request("4", "direct", ("a",)),
    ]
    assert [step.msg_id for step in plan(requests, HERE, AWAY, True)] == ["3", "1", "2", "4"]


def test_a_request_is_not_sent_before_those_it_depends_on() -> None:
    first, second = Request("1", "balanced", started="c"), Request("2", "balanced", needs=frozenset({"1", "0"}))
    third = Request("3", "balanced", needs=frozenset({"2"}))
    assert plan([first, second, third], HERE, AWAY, True) == []
    assert [s.msg_id for s in plan([first, second, third], {"c"}, set(), True)] == ["1", "2", "3"]


DONE = {"ok": Done("a", True), "other": Done("b", True), "bad": Done("a", False)}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"after": ["ok", "new"]}, {"after": ["new"]}),
        ({"after": ["ok", "other"]}, {"after": []}),
        ({"after": ["bad"]}, {"after": ["bad"]}),  # the scheduler refuses it, as it would have before
        (
            {"after": {"dependencies": ["bad", "new"], "all": True, "success": True, "failure": True}},
            {"after": {"dependencies": ["new"], "all": True, "success": True, "failure": True}},
        ),
        (
            {"after": {"dependencies": ["ok", "new"], "all": False, "success": True, "failure": False}},
            {"after": {"dependencies": [], "all": False, "success": True, "failure": False}},
        ),
        ({"follow": ["ok"]}, {"follow": [], "targets": ["a"]}),
        ({"follow": ["ok", "new"], "targets": ["a", "b"]}, {"follow": ["new"], "targets": ["a"]}),
        ({"follow": ["ok", "other"]}, {"follow": ["ok", "other"]}),  # in two places at once
        ({"follow": ["ok"], "targets": ["b"]}, {"follow": ["ok"], "targets": ["b"]}),
        (
            {"follow": {"dependencies": ["ok", "other"], "all": False, "success": True, "failure": False}},
            {
                "follow": {"dependencies": [], "all": False, "success": True, "failure": False},
                "targets": ["a", "b"],
            },
        ),
    ],
)
def test_dependencies_for_a_scheduler_that_knows_nothing_of_the_past(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    empty = {"after": [], "follow": [], "targets": [], "label": "kept"}
    assert rebase({**empty, **given}, DONE) == {**empty, **expected}


def test_the_requests_that_one_waits_for() -> None:
    assert needs({"after": ["1"], "follow": {"dependencies": ["2"], "all": True}}) == {"1", "2"}
    assert needs({"after": None}) == frozenset()


INFO = {
    "interface": "tcp://127.0.0.1",
    "location": "127.0.0.1",
    **{name: 1000 + i for i, name in enumerate(("registration", "control", "mux", "task", "broadcast", "iopub"))},
    "notification": 2000,
    "key": "a secret",
    "curve_serverkey": "another",
}


def test_an_address_is_its_urls_and_keys_and_shows_no_key() -> None:
    address = Address.read(INFO)
    assert address.urls["registration"] == "tcp://127.0.0.1:1000"
    assert address == Address.read(dict(INFO, ssh=""))
    assert address == Address.used({**address.urls, "key": "a secret", "curve_serverkey": "another"})
    assert address != Address.read({**INFO, "mux": 1})
    assert address != Address.read({**INFO, "key": "b"})
    assert "secret" not in repr(address) and "another" not in repr(address)


def test_a_file_is_read_once_for_each_time_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "client.json"
    file = ConnectionFile(path)
    assert (file.changed(), file.changed(), file.missing) == (None, None, 2)
    write_private(path, json.dumps(INFO).encode())
    assert file.changed() == Address.read(INFO) and file.missing == 0
    assert file.changed() is None
    write_private(path, json.dumps({**INFO, "mux": 1}).encode())
    assert file.changed() == Address.read({**INFO, "mux": 1})
    path.unlink()
    assert file.changed() is None and file.missing == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", json.dumps({**INFO, "mux": "x"}), json.dumps({**INFO, "interface": ""})]
)
def test_what_is_no_connection_file_is_passed_over_until_it_is_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "client.json"
    file = ConnectionFile(path)
    path.write_text(text)
    assert file.changed() is None and file.missing == 0
    path.write_text(json.dumps(INFO))
    os.utime(path)
    assert file.changed() == Address.read(INFO)


def test_big_arrays_are_not_copied_unless_their_owner_may_know_when_they_are_sent() -> None:
    small, big = bytearray(10), bytearray(100)
    for buffers, tracked, copied in (([small], False, True), ([small, big], False, False), ([big], True, True)):
        pending = Pending(None, {}, list(buffers), None, {}, tracked=tracked)
        pending.keep(copied=50)
        assert [type(kept) for kept in pending.buffers] == [bytes if copied else bytearray] * len(buffers)
