"""TLS with certificates that nobody has signed: the daemon file says which one is right."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipymesos import tls
from ipymesos.client import Daemon
from ipymesos.config import MesosOptions
from ipymesos.errors import ConfigError, NotRunning
from tests.certificates import certificate
from tests.live import TOKEN, Live


@pytest.fixture
def identity(tmp_path: Path) -> tls.Identity:
    found = tls.identity(*map(str, certificate(tmp_path / "pki")))
    assert found is not None
    return found


@pytest.fixture
def live(tmp_path: Path, identity: tls.Identity) -> Iterator[Live]:
    running = Live(tmp_path, identity=identity)
    yield running
    running.end()


def test_the_pinned_certificate_is_enough(live: Live) -> None:
    assert live.url.startswith("https://127.0.0.1:")
    daemon = live.daemon()
    assert daemon.status()["state"] == "starting"
    assert daemon.want_engines("a", 2)["wanted"] == 2
    version = daemon.status()["version"]
    assert daemon.status(after=version, timeout=0.05)["version"] == version


def test_another_certificate_gets_no_token(live: Live, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has put a server of their own there: it sees neither token nor request."""
    other = tls.identity(*map(str, certificate(tmp_path / "other")))
    assert other is not None
    for fingerprint in (other.fingerprint, "0" * 64, "x"):
        with (
            caplog.at_level(logging.DEBUG),
            pytest.raises(NotRunning, match="isn't the one in the daemon file") as caught,
        ):
            live.daemon(fingerprint=fingerprint).want_engines("a", 1)
        assert TOKEN not in str(caught.value) + caplog.text
    assert not live.saved and "PUT" not in caplog.text


def test_the_cookie_of_the_dashboard_never_goes_in_clear(live: Live) -> None:
    connection = tls.PinnedConnection(*live.address, live.web.fingerprint, 10)
    headers = {"Content-Type": "application/json", "Origin": live.url}
    connection.request("POST", "/api/v1/login", json.dumps({"token": TOKEN}), headers)
    cookie = connection.getresponse().headers["Set-Cookie"]
    connection.close()
    assert "; Secure" in cookie and "; HttpOnly" in cookie


def test_plain_http_is_not_answered(live: Live) -> None:
    connection = http.client.HTTPConnection(*live.address, timeout=10)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        connection.request("GET", "/api/v1/cluster", headers={"Authorization": f"Bearer {TOKEN}"})
        connection.getresponse()
    connection.close()
    assert live.daemon().status()["state"] == "starting"


def test_who_does_not_finish_the_handshake_is_hung_up_on(tmp_path: Path, identity: tls.Identity) -> None:
    live = Live(tmp_path, identity=identity, patience=0.3)
    try:
        with socket.create_connection(live.address, timeout=20) as connection:
            connection.sendall(b"\x16\x03\x01")
            assert connection.recv(100) == b""
        assert live.daemon().status()["state"] == "starting"
    finally:
        live.end()


def test_old_protocols_are_refused(live: Live) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(live.address, timeout=20) as connection, pytest.raises(ssl.SSLError):
        context.wrap_socket(connection)


def test_with_tls_any_address_may_be_listened_on(tmp_path: Path, identity: tls.Identity) -> None:
    live = Live(tmp_path, identity=identity, ip="0.0.0.0")
    try:
        assert live.url.startswith("https://0.0.0.0:") and live.daemon().status()["state"] == "starting"
    finally:
        live.end()


def test_one_file_may_hold_both(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    alone, apart = tls.identity(str(both), ""), tls.identity(str(cert), str(key))
    assert alone is not None and apart is not None and alone.fingerprint == apart.fingerprint
    both.chmod(0o640)
    with pytest.raises(ConfigError, match=f"^certfile: {both} holds a private key, and .*: chmod 600 {both}$"):
        tls.identity(str(both), "")


def test_without_options_there_is_no_tls() -> None:
    assert tls.identity("", "") is None


def test_what_makes_no_sense_is_named(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path / "one")
    other, _ = certificate(tmp_path / "other")
    _, locked = certificate(tmp_path / "locked", "-passout", "pass:sesame")
    for certfile, keyfile, said in [
        ("", key, "keyfile: .*goes with no certificate"),
        (cert, "/nowhere/key.pem", "keyfile: /nowhere/key.pem can't be read: No such file"),
        ("/nowhere/cert.pem", key, "certfile: /nowhere/cert.pem can't be read: No such file"),
        (key, key, f"certfile: {key} holds no certificate in PEM; to make one: openssl req"),
        (other, key, "keyfile: certificate and key can't be used: .*openssl req"),
        (tmp_path / "locked" / "cert.pem", locked, "keyfile: .*the key is encrypted, and nobody is there to be asked"),
        (cert, "", f"certfile: {cert} holds a private key, and others may read"),
        (cert, tmp_path, f"keyfile: {tmp_path} can't be read: Is a directory"),
    ]:
        cert.chmod(0o644)
        with pytest.raises(ConfigError, match=said) as caught:
            tls.identity(str(certfile), str(keyfile))
        assert "PRIVATE KEY" not in str(caught.value)
    key.chmod(0o644)
    with pytest.raises(ConfigError, match=f"keyfile: {key} holds a private key, and .*: chmod 600 {key}"):
        tls.identity(str(cert), str(key))


def test_the_options_as_data_have_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    data = MesosOptions(certfile="cert.pem", keyfile="~/key.pem").to_options()
    assert (data["certfile"], data["keyfile"]) == (str(tmp_path / "cert.pem"), "/home/me/key.pem")
    assert MesosOptions().to_options()["certfile"] == ""


def test_the_daemon_file_tells_the_fingerprint(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "ipymesos.json"
    live.daemon().file.write(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    read = type(live.daemon().file).read(path)
    assert read is not None and Daemon(read).status()["state"] == "starting"
