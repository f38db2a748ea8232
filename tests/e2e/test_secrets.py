"""The keys of a cluster are nowhere but where they belong."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import ipyparallel as ipp
import pytest
import zmq
from jupyter_client.session import Session
from traitlets.config import Config

from ipymesos.local import LocalMesos
from tests.certificates import certificate
from tests.e2e.kit import Home, Running, nothing_left
from tests.e2e.search import files, forms, hits, places
from tests.helpers import eventually
from tests.integration.programs import SMALL, Start

pytestmark = pytest.mark.mesos

OURS = {"ipcontroller-client.json", "ipcontroller-engine.json", "ipymesos.json", "ipymesos-state.json"}
TALKATIVE = {
    "MesosControllerLauncher": {"controller_args": ["--log-level=DEBUG"]},
    "MesosEngineSetLauncher": {"engine_args": ["--log-level=DEBUG"]},
}


@pytest.mark.parametrize("length", [10, 11, 12, 40])
def test_every_form_is_found(length: int) -> None:
    secret = ("</>+" + secrets.token_hex(length))[:length]
    plain = secret.encode()
    for around in range(3):
        data = json.dumps({"a" * around: secret}).encode()
        for seen in (data, base64.b64encode(data), base64.urlsafe_b64encode(data), data.hex().encode()):
            assert hits([("here", b"..." + seen + b"...")], [secret]) == ["here"]
    for seen in (plain.hex().upper().encode(), secret.replace("/", "\\/").encode(), plain):
        assert hits([("here", seen), ("there", seen[1:])], [secret]) == ["here"]
    assert all(len(form) >= length for form in forms(secret))


@pytest.fixture
def planted() -> str:
    """A text that is put in every place on purpose."""
    return f"p{secrets.token_hex(12)}"


@pytest.fixture(params=[("process", True), pytest.param(("docker", True), marks=pytest.mark.docker), ("process", False),
                        pytest.param(("docker", False), marks=pytest.mark.docker)],
                ids=["process", "docker", "process-hmac", "docker-hmac"])  # fmt: skip
def cluster(request: pytest.FixtureRequest, home: Home, planted: str) -> Iterator[Running]:
    """One that says all it can say, and shows `planted` wherever a name, an argument or a variable is shown."""
    kind, curve = request.param
    options = home.options(kind, {"curve": curve, "preload": [planted], "framework_name": planted})
    config = Config({"MesosLauncher": options, **TALKATIVE})
    cluster = ipp.Cluster(
        controller="mesos", engines="mesos", profile="mesos", cluster_id="", config=config, log_level=10
    )
    cluster.start_controller_sync()
    try:
        cluster.start_engines_sync(2, engine_set_id=planted)
        with cluster.connect_client_sync() as client:
            client.wait_for_engines(2, timeout=60)
            yield Running(home, cluster, client)
    finally:
        cluster.stop_cluster_sync()


def leave_traces(client: ipp.Client, planted: str) -> None:
    """In a file of the containers that is in no sandbox, and in what the engines print."""
    client[:].execute(f"import os, sys; print({planted!r}, file=sys.__stderr__, flush=True)", block=True)
    client[:].execute(f"open('/tmp/{planted}-%d' % os.getpid(), 'w').write({planted!r})", block=True)


def remove_traces(client: ipp.Client, planted: str) -> None:
    client[:].execute(f"os.remove('/tmp/{planted}-%d' % os.getpid())", block=True)


def test_keys_are_nowhere_to_be_seen(cluster: Running, planted: str, caplog: pytest.LogCaptureFixture) -> None:
    home = cluster.home
    token = cluster.daemon.file.token
    kept = json.loads(home.paths().state_file.read_bytes())["connection"]
    kept.pop("cluster_id")
    keys = [token, *(key for key in kept.values() if key)]
    assert len(keys) >= (3 if kept["curve_publickey"] else 2) and all(len(key) >= 32 for key in keys)

    leave_traces(cluster.client, planted)
    try:
        seen = places(cluster)
        seen["launchers' log"] = [("caplog", caplog.text.encode())]
        blind = [kind for kind, texts in seen.items() if not hits(texts, [planted])]
        assert set(blind) <= {"Mesos' other files", "docker logs", "launchers' log"}, "the search sees nothing there"
        assert {kind: hits(texts, keys) for kind, texts in seen.items() if hits(texts, keys)} == {}
    finally:
        remove_traces(cluster.client, planted)

    # On disk there are the four files that are meant to have them.
    mine = [Path(name) for name in hits(files(home.ipython), keys)]
    assert {path.name for path in mine} == OURS and {path.parent for path in mine} == {home.paths().security}
    assert {stat.S_IMODE(path.stat().st_mode) for path in mine} == {0o600}


def test_strangers_at_the_controllers_ports_get_no_answer(home: Home) -> None:
    """Whoever lacks the controller's public key, or the key that signs messages, is as good as not there."""
    with home.running("process", 1) as running, zmq.Context() as context:
        info = json.loads(home.paths().client_file.read_bytes())
        status = running.status()
        assert info["registration"] in status["controller"]["ports"]
        url = f"{info['interface']}:{info['registration']}"

        def knock(server_key: str, key: str) -> zmq.Socket:
            sock = context.socket(zmq.DEALER)
            sock.linger, sock.sndtimeo = 0, 1000
            if server_key:
                sock.curve_serverkey = server_key.encode()
                sock.curve_publickey, sock.curve_secretkey = zmq.curve_keypair()
            sock.connect(url)
            session = Session(key=key.encode(), signature_scheme=info["signature_scheme"])
            with suppress(zmq.Again):  # a stranger may have been turned away already
                session.send(sock, "connection_request")
            return sock

        other = zmq.curve_keypair()[0].decode()
        strangers = [knock(*pair) for pair in (
            ("", ""), ("", info["key"]), (other, info["key"]), (info["curve_serverkey"], ""),
            (info["curve_serverkey"], "guess"),
        )]  # fmt: skip
        friends = [knock(info["curve_serverkey"], info["key"]) for _ in range(2)]
        assert [friend.poll(20_000) for friend in friends] == [zmq.POLLIN] * 2
        assert [stranger.poll(0) for stranger in strangers] == [0] * len(strangers)
        for sock in (*strangers, *friends):
            sock.close()
        assert running.client[:].apply_sync(os.getpid)


def test_a_talkative_daemon_says_no_key(home: Home) -> None:
    with Start(
        home.profile_dir, "--master", home.mesos.master, "-n", "1", "--verbose", "--curve", "False", *SMALL
    ) as run:
        run.running(1)
        keys = [run.daemon().file.token, json.loads(home.paths().state_file.read_bytes())["connection"]["key"]]
        assert len(keys[1]) == 64
        environment = Path(f"/proc/{run.process.pid}/environ").read_bytes()
        run.daemon().stop("enough")
        assert run.wait() == 0
    said = "".join(run.out) + run.error
    eventually(lambda: home.security == set())
    assert len(said.splitlines()) > 20 and str(os.getpid()) and hits([("said", said.encode())], keys) == []
    assert hits([("environment", environment)], keys) == []


@pytest.fixture(params=["file", "environment"])
def locked(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Locked]:
    """A Mesos that asks for a principal, and a user who talks to the daemon over TLS."""
    locked = Locked(request.param, secrets.token_urlsafe(32), *certificate(tmp_path / "pki"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("IPYMESOS_SECRET", raising=False)
    options = {"principal": "me", "certfile": str(locked.certfile), "keyfile": str(locked.keyfile)}
    if request.param == "file":
        path = tmp_path / "secret"
        path.touch(0o600)
        path.write_text(f"{locked.secret}\n")
        options["secret_file"] = str(path)
    with LocalMesos(credentials={"me": locked.secret}) as mesos:
        if request.param == "environment":
            monkeypatch.setenv("IPYMESOS_SECRET", locked.secret)
        home = Home(mesos, tmp_path / "ipython")
        config = Config({"MesosLauncher": home.options("process", options), **TALKATIVE})
        cluster = ipp.Cluster(
            controller="mesos", engines="mesos", profile="mesos", cluster_id="", config=config, log_level=10, n=2
        )
        cluster.start_cluster_sync()
        try:
            with cluster.connect_client_sync() as client:
                client.wait_for_engines(2, timeout=60)
                locked.running = Running(home, cluster, client)
                yield locked
        finally:
            cluster.stop_cluster_sync()
        nothing_left(home)


@dataclass
class Locked:
    way: str  # how the principal's secret is given
    secret: str
    certfile: Path
    keyfile: Path
    running: Running = field(init=False)


def test_credentials_and_the_key_for_tls_are_nowhere_to_be_seen(
    locked: Locked, caplog: pytest.LogCaptureFixture
) -> None:
    running, lines = locked.running, locked.keyfile.read_text().splitlines()
    assert running.daemon.url.startswith("https://") and "PRIVATE KEY" in lines[0]
    assert running.client[:].apply_sync(os.getpid)
    looked_for = [locked.secret, lines[5], lines[6], running.daemon.file.token]
    seen = places(running, ("me", locked.secret))
    seen["launchers' log"] = [("caplog", caplog.text.encode())]
    found = {kind: hits(texts, looked_for) for kind, texts in seen.items()}
    # The master has its list of secrets in a file of its own, which it is told of at its start.
    assert [Path(name).name for name in found.pop("Mesos' other files")] == ["credentials.json"]
    # A program can't take back what it was given in its environment; nobody else's has it.
    given = [f"/proc/{running.daemon.pid}/environ"] if locked.way == "environment" else []
    assert found.pop("environments") == given
    assert {kind: names for kind, names in found.items() if names} == {}
    mine = {Path(name).name for name in hits(files(running.home.ipython), looked_for)}
    assert mine == {"ipymesos.json"}
