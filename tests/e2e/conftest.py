"""One Mesos with two agents for all end-to-end tests, and a fresh user for each."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ipymesos.local import LocalMesos

pytest.register_assert_rewrite("tests.e2e.kit")

from tests.e2e.kit import CPUS, MEM, Home, nothing_left  # noqa: E402


@pytest.fixture(scope="session")
def mesos() -> Iterator[LocalMesos]:
    """Agents small enough that a cluster can be made to need both; `rack` tells them apart."""
    containerizers = "mesos" if os.environ.get("IPYMESOS_SKIP_DOCKER") else "docker,mesos"
    resources = f"cpus:{CPUS};mem:{MEM}"
    with LocalMesos(
        agents=2, containerizers=containerizers, resources=resources, attributes=["rack:r0", "rack:r1"]
    ) as running:
        yield running


@pytest.fixture
def home(mesos: LocalMesos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A user without any configuration; afterwards nothing of their clusters may be left."""
    user = Home(mesos, tmp_path / "ipython")
    monkeypatch.setenv("IPYTHONDIR", str(user.ipython))
    monkeypatch.setenv("IPYMESOS_MASTER", mesos.master)
    monkeypatch.delenv("IPYMESOS_SECRET", raising=False)
    yield user
    nothing_left(user)


@pytest.fixture
def shell(home: Home) -> Iterator[InteractiveShell]:
    """A notebook's or terminal's shell, without a screen."""
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    yield made
    atexit.unregister(made.atexit_operations)
    made.atexit_operations()  # now, while its folder is there
    InteractiveShell.clear_instance()


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def kind(request: pytest.FixtureRequest) -> str:
    """What the tasks run in."""
    return str(request.param)
