"""Which clusters make clients that follow their controller, and how."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest
from traitlets.config import Config

import ipymesos

from .launcher_kit import Account, account


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("IPYMESOS_MASTER", "IPYMESOS_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with account(tmp_path) as user:
        yield user


def options(user: Account, **more: Any) -> dict[str, Any]:
    config = Config()
    config.MesosLauncher.memory = "64 MB"
    common = {"profile_dir": str(user.profile), "load_profile": False, "shutdown_atexit": False, "config": config}
    return {**common, "n": 2, **more}


@pytest.mark.mesos
def test_ours_says_mesos_by_itself_and_makes_our_clients(user: Account) -> None:
    with ipymesos.Cluster(**options(user)) as client:
        assert type(client) is ipymesos.Client
        assert len(set(client[:].apply_sync(os.getpid))) == 2
        cluster = client.cluster
        assert cluster is not None and type(cluster.controller).__name__ == "MesosControllerLauncher"
        assert json.loads(Path(cluster.cluster_file).read_text())["cluster"]["class"] == "ipymesos.Cluster"
        again = ipp.Cluster.from_file(cluster.cluster_file)
        assert type(again) is ipymesos.Cluster
        with again.connect_client_sync(pending="fail", grace=5) as second:
            assert type(second) is ipymesos.Client and second.cluster is again
            second.wait_for_engines(2, timeout=30)
    user.nothing_left()


@pytest.mark.mesos
def test_a_plain_cluster_with_our_launchers_makes_our_clients_too(user: Account) -> None:
    plain = ipp.Cluster(controller="mesos", engines="mesos", **options(user))
    with plain as client:
        assert type(client) is ipymesos.Client
        again = ipp.Cluster.from_file(plain.cluster_file)
        with again.connect_client_sync() as second:
            assert type(second) is ipymesos.Client and type(again) is ipp.Cluster
            second.wait_for_engines(2, timeout=30)
    assert ipp.Cluster.connect_client is not plain.connect_client
    user.nothing_left()


def test_a_cluster_without_our_launchers_is_left_alone(user: Account) -> None:
    with ipp.Cluster(**options(user, n=1)) as client:
        assert type(client) is ipp.Client


def test_ipymesos_itself_imports_nothing_heavy() -> None:
    program = "import sys, ipymesos; assert not {'ipyparallel', 'zmq', 'IPython', 'traitlets'} & set(sys.modules)"
    program += "; assert ipymesos.Client.__name__ == 'Client' and 'ipyparallel' in sys.modules"
    program += "; from ipymesos import Cluster, ControllerLost"
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        ipymesos.nonsense  # noqa: B018
