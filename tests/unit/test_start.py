"""With what a daemon begins when a dead one has left something: what wins, what stays, and that no time is ahead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ipymesos.config import MesosOptions
from ipymesos.connection import Connection
from ipymesos.core.cluster import Cluster, Exit, Setback, Task
from ipymesos.core.specs import CONTROLLER, EngineSet
from ipymesos.daemon.start import FIRST_SET, Start, begin, keys_for, not_ahead, resumed, sweep, taken_over
from ipymesos.daemon.store import FileStore, Saved
from ipymesos.errors import NotRunning, StoreError
from ipymesos.paths import Paths


def start(n: int | None = 2, **options: object) -> Start:
    return Start(MesosOptions.from_options({"master": "host:5050", "container": "process", **options}), n)


def task(name: str, at: float) -> Task:
    return Task(name, CONTROLLER, name, "agent", "host", (), (), launched_at=at, since=at, kill_sent_at=at)


def saved(begun: Start, **changes: object) -> Saved:
    cluster = replace(Cluster("old", begun.spec, "framework", tasks={"c": task("c", 1.0)}), **changes)  # type: ignore[arg-type]
    return Saved(cluster, Connection.new(), begun.to_json())


def test_how_it_was_started_comes_back_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYMESOS_SECRET", "hush")
    begun = Start(MesosOptions(principal="me", memory="3 GB", master="host:5050"), None, ("--nodb",), ("--debug",))
    text = begun.to_json()
    again = Start.from_json(text)
    assert (again.to_json(), again.controller_args, again.n) == (text, ("--nodb",), None)
    assert "hush" not in str(text)


def test_resumed_it_is_as_it_was() -> None:
    setback = {"engines": Setback(2, 50.0, "no such image")}
    left = saved(start(), stopping="enough", stopping_since=3.0, setbacks=setback)
    assert resumed(left, 60.0) == replace(left.cluster, stopping_since=60.0)


def test_taken_over_the_new_options_win_and_other_sets_stay() -> None:
    old = start(2)
    other = EngineSet(5, old.options.engine_spec(), 3)
    left = saved(old, stopping="enough")
    spec = replace(left.cluster.spec, engines={**left.cluster.spec.engines, "other": other})
    left = replace(left, cluster=replace(left.cluster, spec=spec))
    same = taken_over(left, start(4, framework_name="new"), 60.0)
    assert same.spec.engines[FIRST_SET].n == 4 and same.spec.engines[FIRST_SET].revision == 0
    assert same.spec.engines["other"] == other and (same.name, same.stopping) == ("new", "")
    bigger = taken_over(left, start(2, memory="2 GB"), 60.0)
    assert bigger.spec.engines[FIRST_SET].revision == 1 and bigger.tasks == left.cluster.tasks


def test_keys_stay_as_long_as_somebody_uses_them() -> None:
    left = saved(start())
    plain = start(curve=False)
    assert keys_for(left.cluster, left, plain) == left.connection
    assert not keys_for(replace(left.cluster, tasks={}), left, plain).curve


def test_no_time_is_ahead_of_a_clock_that_was_set_back() -> None:
    tasks = {"a": task("a", 7000.0), "b": task("b", 7200.0)}
    cluster = Cluster("x", tasks=tasks, exits=(Exit("e", "engines", "host", 7100.0, "TASK_FAILED"),))
    cluster = replace(cluster, setbacks={"engines": Setback(1, 7230.0, "")}, busy_ports={"agent": {1: 7500.0}})
    moved = not_ahead(cluster, 100.0)
    assert [t.launched_at for t in moved.tasks.values()] == [-100.0, 100.0]  # in their order
    assert all(t.since <= 100.0 and t.kill_sent_at is None for t in moved.tasks.values())
    assert moved.setbacks["engines"].until == 130.0 and not moved.busy_ports and moved.exits[0].at == 0.0
    assert not_ahead(cluster, 7200.0) is cluster


def test_where_to_begin(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "state.json")
    with pytest.raises(NotRunning, match="nothing to resume"):
        begin(None, store, "")
    asked = start()
    assert begin(asked, store, "id")[1] == Cluster("ipymesos", asked.spec)
    store.save(saved(asked))
    assert begin(None, store, "")[0].to_json() == asked.to_json()
    with pytest.raises(StoreError, match="whose tasks may still run"):
        begin(start(master="local"), store, "")
    store.save(replace(saved(asked), start={**asked.to_json(), "options": {"colour": "red"}}))
    with pytest.raises(StoreError, match="can't be resumed .colour: there is no such option"):
        begin(None, store, "")


def test_what_a_killed_daemon_was_writing_is_removed(tmp_path: Path) -> None:
    paths, other = Paths(tmp_path, "a"), Paths(tmp_path, "a-b")
    paths.security.mkdir()
    for path in (paths.state_file, other.state_file):
        path.with_name(f".{path.name}.123.abcd").touch()
        path.touch()
    sweep(paths)
    assert sorted(path.name for path in paths.security.iterdir()) == [
        ".ipymesos-a-b-state.json.123.abcd",
        "ipymesos-a-b-state.json",
        "ipymesos-a-state.json",
    ]
