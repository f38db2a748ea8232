"""ipyparallel's own tests of `Cluster`, run with our launchers in place of its local ones.

Two of them are left out: test_cluster_repr makes its profile in the very /tmp; test_wait_for_engines_crash breaks
engines by an environment variable of the client, which ours do not inherit.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from ipyparallel.tests import test_cluster as theirs
from ipyparallel.tests.conftest import Cluster, cluster_config, ipython, ipython_dir

__all__ = ["Cluster", "cluster_config", "ipython", "ipython_dir"]  # fixtures

pytestmark = pytest.mark.mesos

NAMES = (
    "test_start_stop_controller",
    "test_start_stop_engines",
    "test_start_stop_cluster",
    "test_signal_engines",
    "test_restart_engines",
    "test_get_output",
    "test_async_with",
    "test_sync_with",
    "test_to_from_dict",
    "test_default_from_file",
    "test_cluster_manager_notice_stop",
    "test_start_and_connect_activate",
)


@pytest.fixture
def controller_launcher_class() -> str:
    return "mesos"


@pytest.fixture
def engine_launcher_class() -> str:
    return "mesos"


@pytest.fixture(autouse=True)
def private_mesos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPYMESOS_MASTER", raising=False)


def runnable(test: Callable[..., Any]) -> Callable[..., Any]:
    """`test` as a plain function; without a plugin pytest doesn't run a coroutine."""
    if not inspect.iscoroutinefunction(test):
        return test

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


for name in NAMES:
    globals()[name] = runnable(getattr(theirs, name))
