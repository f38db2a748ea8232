"""The walkthrough: everything that a user of ipyparallel does first, on Docker containers on two agents."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import joblib
import pytest
from ipyparallel.joblib import IPythonParallelBackend
from IPython.core.interactiveshell import InteractiveShell
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

from tests import images
from tests.e2e.kit import CPUS, PROFILE, Home, program
from tests.helpers import eventually

pytestmark = [pytest.mark.mesos, pytest.mark.docker]

N = 4
# Two engines fill an agent, with a container each or with one for both: so N engines need both agents.
HALF_AN_AGENT = CPUS / 2 - 0.4

WORK = """
import ipyparallel as ipp
@ipp.require("os", "hashlib")
def work(i):
    rounds = 20_000 if i % 10 == 0 else 200
    digest = hashlib.pbkdf2_hmac("sha256", b"%d" % i, b"salt", rounds).hex()
    return i, digest, (os.environ["MESOS_EXECUTOR_ID"], os.getpid())
"""

OTHER_CLIENT = """
import ipyparallel as ipp
with ipp.Client(profile="mesos") as rc:
    view = rc[:]
    view["theirs"] = 7
    print(sum(view.map_sync(lambda i: i * theirs, range(1000))), view["theirs"])
"""


@pytest.fixture(params=[0, 1], ids=["pack", "isolated"])
def profile(request: pytest.FixtureRequest, home: Home) -> Iterator[int]:
    """The cluster of the quickstart: a profile says what and where, `ipcluster` starts it. engines_per_container."""
    home.configure(
        "docker",
        image=images.with_sklearn(),
        cpus=HALF_AN_AGENT,
        memory="400 MB",
        engines_per_container=request.param,
    )
    started = program("ipyparallel.cluster", "start", f"--profile={PROFILE}", "-n", str(N), "--daemonize")
    try:
        assert started.returncode == 0, started.stderr
        yield request.param
    finally:
        stopped = program("ipyparallel.cluster", "stop", f"--profile={PROFILE}")
    assert stopped.returncode == 0, stopped.stderr


def run(shell: InteractiveShell, cell: str) -> None:
    result = shell.run_cell(cell)
    result.raise_error()


def check_places(home: Home, rc: ipp.Client, per_container: int) -> dict[int, tuple[str, int]]:
    """Where each engine is: its container and pid, as it says itself and as the scheduler says."""
    view = rc[:]
    pids, names = view.apply_sync(os.getpid), view.apply_sync(os.uname)
    assert {name.nodename for name in names} == {os.uname().nodename}
    containers = view.apply_sync(os.getenv, "MESOS_EXECUTOR_ID")
    places = dict(zip(rc.ids, zip(containers, pids, strict=True), strict=True))
    assert len(set(places.values())) == N
    (tasks,) = (engines["tasks"] for engines in home.daemon().status()["engines"].values())
    assert {task["engine_id"]: task["container"] for task in tasks} == {i: place[0] for i, place in places.items()}
    assert Counter(task["agent_id"] for task in tasks) == {agent["id"]: N // 2 for agent in home.mesos.agents}
    assert sorted(Counter(containers).values()) == ([1] * N if per_container == 1 else [N // 2] * 2)
    return places


def check_px(shell: InteractiveShell, rc: ipp.Client) -> None:
    """%%px with state kept, %%px --local, and the dictionary of a view."""
    rc.activate()
    run(shell, "%%px\nimport os\na = 5\ndef twice(x):\n    return 2 * x")
    run(shell, "%%px\na = twice(a) + 1\nb = os.getpid()")
    assert rc[:]["a"] == [11] * N and rc[:].pull("twice", block=True)[0](4) == 8
    assert rc[:]["b"] == rc[:].apply_sync(os.getpid)
    rc[:]["a"] = 3
    assert [rc[i]["a"] for i in rc.ids] == [3] * N
    assert "a" not in shell.user_ns
    run(shell, "%%px --local\na = 'everywhere'")
    assert rc[:]["a"] == ["everywhere"] * N and shell.user_ns["a"] == "everywhere"
    with pytest.raises(ipp.error.AlreadyDisplayedError, match=f"{N} errors"):
        run(shell, "%%px\n1 / 0")


def check_scatter(rc: ipp.Client) -> None:
    view = rc[:]
    ids = [f"id-{i}" for i in range(1000)]
    view.scatter("ids", ids, block=True)
    assert [len(part) for part in view["ids"]] == [250] * N
    assert view.gather("ids", block=True) == ids
    some = rc[:3]
    some.scatter("ids", ids, block=True)
    assert [len(part) for part in some["ids"]] == [334, 333, 333]
    assert some.gather("ids", block=True) == ids


def check_load_balancing(shell: InteractiveShell, rc: ipp.Client, places: dict[int, tuple[str, int]]) -> None:
    """100 pieces of work of very different sizes: all right, each done once, and everybody has taken part."""
    run(shell, WORK)
    result = rc.load_balanced_view().map_async(shell.user_ns["work"], range(100))
    done = result.get(timeout=60)
    for i, (item, digest, place) in enumerate(done):
        rounds = 20_000 if i % 10 == 0 else 200
        assert (item, digest) == (i, hashlib.pbkdf2_hmac("sha256", b"%d" % i, b"salt", rounds).hex())
        assert place == places[result.engine_id[i]]
    shares = Counter(result.engine_id)
    assert set(shares) == set(places) and shares.total() == 100


def check_grid_search(rc: ipp.Client) -> None:
    """scikit-learn through joblib's backend finds what it finds alone."""
    data, target = load_iris(return_X_y=True)
    grid: dict[str, list[Any]] = {"C": [0.01, 1, 100], "gamma": [0.01, 1], "kernel": ["rbf"]}
    alone = GridSearchCV(SVC(), grid, cv=3).fit(data, target)
    view = rc.load_balanced_view()
    joblib.register_parallel_backend("engines", lambda **kw: IPythonParallelBackend(view=view, **kw))
    before = {engine: rc.queue_status(engine)["completed"] for engine in rc.ids}
    with joblib.parallel_backend("engines"):
        together = GridSearchCV(SVC(), grid, cv=3).fit(data, target)
    assert together.best_params_ == alone.best_params_
    assert together.cv_results_["mean_test_score"] == pytest.approx(alone.cv_results_["mean_test_score"])
    fits = len(grid["C"]) * len(grid["gamma"]) * 3

    def shares() -> list[int] | None:
        found = [rc.queue_status(engine)["completed"] - before[engine] for engine in rc.ids]
        return found if sum(found) == fits else None

    assert min(eventually(shares, 10) or []) > 0


def check_several_clients(rc: ipp.Client) -> None:
    """Another process and another client in this one compute at the same time, on the same engines."""
    other = subprocess.Popen([sys.executable, "-c", OTHER_CLIENT], stdout=subprocess.PIPE, text=True)
    try:
        with ipp.Client(profile=PROFILE) as second:
            mine = rc[:].map_async(ipp.interactive(lambda i: i + 1), range(1000))
            also = second[:].map_async(ipp.interactive(lambda i: i * 2), range(1000))
            assert sum(mine.get(timeout=60)) == 500500 and sum(also.get(timeout=60)) == 999000
            said, _ = other.communicate(timeout=60)
            assert said.split(maxsplit=1) == [str(7 * 499500), f"{[7] * N}\n"]
            assert second[:]["theirs"] == [7] * N
    finally:
        other.kill()
        other.communicate()


def test_walkthrough(home: Home, profile: int, shell: InteractiveShell) -> None:
    listed = program("ipyparallel.cluster", "list")
    assert listed.stdout.splitlines()[1].split() == [PROFILE, "''", "True", str(N), "Mesos"], listed
    with ipp.Client(profile=PROFILE) as rc:
        rc.wait_for_engines(N, timeout=60)
        assert rc.ids == list(range(N))
        places = check_places(home, rc, profile)
        check_px(shell, rc)
        check_scatter(rc)
        check_load_balancing(shell, rc, places)
        check_grid_search(rc)
        check_several_clients(rc)
    assert Path(home.paths().client_file).exists()
