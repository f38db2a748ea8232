"""JupyterLab's tab for clusters: it starts, shows and stops a cluster from a profile; by REST, and in a browser."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ipyparallel as ipp
import nbformat
import pytest
from selenium.webdriver import ActionChains, Keys

from ipymesos.local import LocalMesos
from tests.browser import browser
from tests.e2e.kit import PROFILE, Home, nothing_left, program
from tests.helpers import eventually
from tests.integration.scripted_master import free_port

pytestmark = pytest.mark.mesos

N = 2
KEY = f"{PROFILE}:"  # by which the tab knows the profile's cluster
PICTURES = os.environ.get("IPYMESOS_PICTURES", "")  # a folder for a picture of the browser


@dataclass
class Server:
    """A Jupyter server with JupyterLab, whose notebooks are in `folder`."""

    url: str
    token: str
    folder: Path

    def ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}ipyparallel/clusters{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def clusters(self) -> dict[str, Any]:
        return {cluster["id"]: cluster for cluster in self.ask("GET", "")}


@pytest.fixture(scope="module")
def home(mesos: LocalMesos, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A user whose clusters go to the tests' Mesos."""
    user = Home(mesos, tmp_path_factory.mktemp("ipython"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(user.ipython))
        patch.setenv("IPYMESOS_MASTER", mesos.master)
        yield user
    nothing_left(user)


@pytest.fixture(scope="module")
def server(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tmp_path = tmp_path_factory.mktemp("jupyter")
    home.configure("process")
    with open(home.profile_dir / "ipcluster_config.py", "a") as file:
        file.write(f"\nc.Cluster.n = {N}\n")
    places = {name: tmp_path / name.lower() for name in ("RUNTIME", "CONFIG", "DATA")}
    made = Server(f"http://127.0.0.1:{free_port()}/", secrets.token_hex(16), tmp_path / "notebooks")
    made.folder.mkdir()
    news = places["CONFIG"] / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # which would be asked for elsewhere
    environment = {
        **os.environ,
        **{f"JUPYTER_{name}_DIR": str(path) for name, path in places.items()},
        **{f"JUPYTERLAB_{name}_DIR": str(places["CONFIG"]) for name in ("SETTINGS", "WORKSPACES")},
        "JUPYTER_TOKEN": made.token,
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port_retries=0"]
    command += [f"--port={urlsplit(made.url).port}", f"--ServerApp.root_dir={made.folder}"]
    log = tmp_path / "jupyter.log"
    with open(log, "w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)

    def there() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return bool(made.clusters())
        except urllib.error.URLError as error:
            raise AssertionError(log.read_text()) from error

    try:
        eventually(there, 120)
        yield made
    finally:
        if home.security:  # a test has failed
            program("ipyparallel.cluster", "stop", f"--profile={PROFILE}")
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # its worker threads (anyio's) at times outlive its loop
            process.kill()
            process.wait()


def test_by_rest(home: Home, server: Server) -> None:
    """The requests that the tab makes."""
    listed = server.clusters()[KEY]
    assert listed["cluster"]["profile"] == PROFILE and not listed.get("controller")
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.ask("POST", f"/{KEY}", {"n": -1})
    assert "-1 engines can't be started" in json.loads(refused.value.read())["message"]
    server.ask("DELETE", f"/{KEY}")
    assert KEY in server.clusters()
    started = server.ask("POST", f"/{KEY}", {"n": N})
    assert started["engines"]["n"] == N
    assert server.clusters()[KEY]["controller"]["state"]["state"] == "running"
    with ipp.Client(profile=PROFILE) as rc:
        rc.wait_for_engines(N, timeout=60)
        assert len(set(rc[:].apply_sync(os.getpid))) == N
    key = json.loads(home.paths().client_file.read_text())["key"]
    assert not key or key not in json.dumps(server.clusters())
    server.ask("DELETE", f"/{KEY}")
    assert not server.clusters()[KEY].get("controller")
    assert not home.security


CELLS = [
    'import ipymesos\n\ncluster = ipymesos.Cluster.from_file(profile="mesos")\n'
    "rc = cluster.connect_client_sync()\nrc.wait_for_engines(2)",
    "%%px\nimport os\n\nos.getpid() > 1",
    "cluster",
]


def test_in_the_browser(server: Server) -> None:
    """The same by mouse: the profile is in the tab, starts, is used by a notebook, and ends."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, server.folder / "mesos.ipynb")
    item = f"li.ipp-ClusterListingItem[data-cluster-id='{KEY}']"
    with browser() as page:
        page.size(1280, 720)
        page.go(f"{server.url}lab/tree/mesos.ipynb?token={server.token}")
        eventually(lambda: len(page.all(".jp-Notebook .jp-Cell")) == len(CELLS), 60)
        eventually(lambda: "Python 3" in page.text(".jp-Toolbar-kernelName"), 60)
        page.click("[data-id='ipp-cluster-launcher']")
        eventually(lambda: page.all(item))
        page.press("START", item)
        eventually(lambda: "running" in page.text(item), 60)
        page.click(".jp-Notebook .jp-Cell .cm-content")
        for _ in CELLS:
            ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()

        def computed() -> bool:
            text = page.text(".jp-Notebook")
            assert text.count("True") == N, text
            return True

        eventually(computed, 60)
        eventually(lambda: f"{N} of {N}" in page.text(".jp-Notebook table"))
        if PICTURES:
            page.picture(Path(PICTURES, "jupyter.png"))
        page.press("STOP", item)
        eventually(lambda: "Stopped" in page.text(item), 60)
