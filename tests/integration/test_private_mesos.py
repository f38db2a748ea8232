"""The Mesos that a daemon has for itself runs tasks as its user, so nobody else on the machine may start any."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.integration.plain_framework import Framework
from tests.integration.programs import SMALL, Start

pytestmark = pytest.mark.mesos


def ask(url: str, body: object) -> int:
    """The status of a POST without credentials."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=20) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_nobody_else_runs_anything_on_it(tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    with Start(tmp_path / "profile", "--master", "local", "-n", "1", *SMALL) as start:
        master = start.running(1, timeout=120)["master"]
        with pytest.raises(ConnectionRefusedError, match="401"):
            Framework(master)
        with pytest.raises(ConnectionRefusedError, match="401"):
            Framework(master, credentials="ipymesos:guess")
        with urllib.request.urlopen(f"http://{master}/master/slaves", timeout=20) as answer:
            (agent,) = json.load(answer)["slaves"]
        launch = {"container_id": {"value": "evil"}, "command": {"value": f"touch {evil}"}}
        agent_api = f"http://{agent['pid'].partition('@')[2]}/{agent['pid'].partition('@')[0]}/api/v1"
        assert ask(agent_api, {"type": "LAUNCH_CONTAINER", "launch_container": launch}) == 401
        assert ask(agent_api, {"type": "GET_CONTAINERS"}) == 401
        assert ask(f"http://{master}/master/api/v1", {"type": "GET_TASKS"}) == 401
        framework = start.daemon().status()["framework_id"]
        assert ask(f"http://{master}/master/teardown", {"frameworkId": framework}) == 401
        start.running(1)
        assert not evil.exists()
        start.daemon().stop("enough")
        assert start.wait() == 0, start.error
