"""The state file: what goes in comes out, nobody else can read it, and it is whole or not there."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipymesos.connection import Connection
from ipymesos.core.cluster import Cluster, Setback, State, Task
from ipymesos.core.resources import Piece, Resources
from ipymesos.core.specs import CONTROLLER, Container, ControllerSpec, EngineSet, EngineSpec, Spec
from ipymesos.daemon.codec import decode, encode
from ipymesos.daemon.store import FileStore, Saved
from ipymesos.errors import StoreError


def a_cluster() -> Cluster:
    ports = Piece("ports", ranges=((31000, 31005), (31100, 31111)), origin='{"role": "*"}')
    task = Task("c-1", CONTROLLER, "x-1", "agent", "host", (Piece("cpus", 500), ports), (), 12.5, ip="127.0.0.1")
    spec = Spec(
        ControllerSpec(
            Resources(500, 512), Container("docker", "image", volumes=(("/a", "/b", "RO"),)), args=("--debug",)
        ),
        {"a": EngineSet(4, EngineSpec(Resources(1000, 1024), preload=("numpy",)))},
    )
    return Cluster(
        "name",
        spec,
        "framework",
        7,
        {"c-1": task},
        setbacks={"a": Setback(1, 2.0, "no", True)},
        busy_ports={"agent": {31000: 5.0}},
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.from_type(Cluster))
def test_any_cluster_comes_back(cluster: Cluster) -> None:
    text = json.dumps(encode(cluster))
    assert json.dumps(encode(decode(Cluster, json.loads(text)))) == text  # as text, since nan == nan is false


def saved() -> Saved:
    return Saved(a_cluster(), Connection.new(), {"options": {"master": "host:5050"}, "n": 4})


def test_kept_and_loaded(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "security" / "ipymesos-state.json")
    assert store.load() is None
    kept = saved()
    store.save(kept)
    loaded = store.load()
    assert loaded == kept
    assert loaded is not None and loaded.cluster.tasks["c-1"].state is State.LAUNCHING
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
    assert os.listdir(store.path.parent) == [store.path.name]  # no temporary file is left
    store.remove()
    store.remove()
    assert store.load() is None


def test_a_failed_save_leaves_the_old_state_whole(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "state.json")
    kept = saved()
    store.save(kept)
    with pytest.raises(TypeError):
        store.save(Saved(Cluster(name=object()), kept.connection, {}))  # type: ignore[arg-type]
    assert store.load() == kept
    assert os.listdir(tmp_path) == ["state.json"]


def test_refuses_what_others_may_read_and_names_the_fix(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "state.json")
    store.save(saved())
    os.chmod(store.path, 0o640)
    with pytest.raises(StoreError, match=f"chmod 600 {store.path}"):
        store.load()


def test_refuses_a_link(tmp_path: Path) -> None:
    FileStore(tmp_path / "elsewhere.json").save(saved())
    (tmp_path / "state.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(StoreError, match=str(tmp_path / "state.json")):
        FileStore(tmp_path / "state.json").load()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "cluster": {"name": 3}, "connection": {}}',
        '{"version": 2, "cluster": {"name": "x", "colour": "red"}, "connection": {}}',
        '{"version": 2, "cluster": {"name": "x", "tasks": []}, "connection": {}}',
        '{"version": 2, "cluster": {"name": "x", "tasks": {"t": {"state": "asleep"}}}, "connection": {}}',
        '{"version": 2, "cluster": {"name": "x"}, "connection": {"key": "secret-key"}}',
        '{"version": 2, "cluster": {"name": "x"}, "connection": {"cluster_id": "", "key": "secret-key"}, "start": {}}',
        '{"version": "2"}',
        '{"version": 2.0, "cluster": 1e999}',
        "[" * 100_000,
        "\udc80",
    ],
)
def test_refuses_what_is_no_state_and_shows_no_key(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.json"
    path.touch(0o600)
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError, match=str(path)) as caught:
        FileStore(path).load()
    assert "secret-key" not in str(caught.value)


@pytest.mark.parametrize("version, age", [(1, "an older"), (3, "a newer")])
def test_refuses_another_version_and_leaves_it_alone(tmp_path: Path, version: int, age: str) -> None:
    store = FileStore(tmp_path / "state.json")
    store.save(saved())
    text = store.path.read_text().replace('"version": 2', f'"version": {version}')
    store.path.write_text(text)
    with pytest.raises(StoreError, match=f"was written by {age} ipymesos .* use that ipymesos to stop its cluster"):
        store.load()
    assert store.path.read_text() == text


def test_what_is_no_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state.json", 0o600)
    with pytest.raises(StoreError, match="it isn't a file: move it away"):
        FileStore(tmp_path / "state.json").load()


def test_says_where_it_cannot_write() -> None:
    with pytest.raises(StoreError, match="/proc/nowhere/state.json"):
        FileStore(Path("/proc/nowhere/state.json")).save(saved())
