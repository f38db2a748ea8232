"""Events and metrics over real HTTP on loopback, and as the command line shows them."""

from __future__ import annotations

import http.client
import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipymesos import tls
from ipymesos.cli.events import line
from ipymesos.cli.main import main
from ipymesos.client import Daemon
from ipymesos.core.messages import Subscribed
from ipymesos.daemon import metrics_token
from ipymesos.daemon.vocabulary import Happening
from ipymesos.errors import ConfigError, NotRunning
from tests.certificates import certificate
from tests.helpers import eventually
from tests.live import TOKEN, Live
from tests.prometheus import Prometheus, needs_prometheus


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    running = Live(tmp_path)
    yield running
    running.end()


def test_events_say_who_wanted_it(live: Live) -> None:
    class Launcher(Daemon):
        who = "launcher"

    daemon = Launcher(live.daemon().file)
    daemon.want_engines("a", 2)
    live.daemon().want_engines("a", 3)
    live.ask("DELETE", "/api/v1/engines/a")
    said = [(event["kind"], event["wanted"], event["by"]) for event in daemon.events()]
    assert said == [("engines_wanted", 2, "launcher"), ("engines_wanted", 3, "Python"), ("engines_dropped", 0, "REST")]
    assert [event["seq"] for event in daemon.events(after=1)] == [2, 3] and daemon.events(after=3) == []


def test_who_waits_for_an_event_gets_it_at_once(live: Live) -> None:
    got: list[list[dict[str, object]]] = []
    waiting = threading.Thread(target=lambda: got.append(live.daemon().events(after=0, timeout=60)))
    waiting.start()
    live.run(live.app.owner.take, Subscribed("fw", "master:5050"))
    waiting.join(30)
    assert [event["kind"] for event in got[0]] == ["master_registered"]


def test_an_answer_holds_a_thousand_events(live: Live) -> None:
    def tell() -> None:
        for _ in range(1100):
            live.app.herald.tell(Happening("trouble", "t"), live.app.owner.state)

    live.run(tell)
    _, answer, _ = live.ask("GET", "/api/v1/events")
    assert len(answer["events"]) == 1000 and answer["events"][-1]["seq"] == 1000 and answer["last"] == 1100
    assert len(live.daemon().events(after=1000)) == 100


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=1.5", "timeout=-1", "timeout=x", "before=1"])
def test_a_question_that_makes_no_sense(live: Live, query: str) -> None:
    status, answer, _ = live.ask("GET", f"/api/v1/events?{query}")
    assert status == 400 and query.partition("=")[0] in answer["error"]


def fetch(live: Live, path: str, token: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(*live.address, timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, response.headers.get("Content-Type", ""), response.read().decode()
    finally:
        connection.close()


def test_metrics_have_a_token_of_their_own_that_opens_nothing_else(live: Live) -> None:
    path = live.app.paths.metrics_token
    assert fetch(live, "/metrics", "")[0] == 401 and not path.exists()
    metrics_token.ensure(path)
    token = path.read_text().strip()
    assert len(token) >= 40 and stat.S_IMODE(path.stat().st_mode) == 0o600
    status, kind, text = fetch(live, "/metrics", token)
    assert status == 200 and kind.startswith("text/plain; version=") and "ipymesos_connected 0.0" in text
    assert fetch(live, "/metrics", TOKEN)[0] == 200 and live.daemon().metrics().startswith("# HELP ipymesos_")
    assert token not in text and TOKEN not in text
    for other in ("/api/v1/cluster", "/api/v1/events", "/api/v1/stream", "/api/v1/explain"):
        assert fetch(live, other, token)[0] == 401
    assert fetch(live, "/metrics", token[:-1])[0] == fetch(live, "/metrics", token + "x")[0] == 401
    metrics_token.ensure(path)
    assert path.read_text().strip() == token  # it stays
    path.chmod(0o644)
    assert fetch(live, "/metrics", token)[0] == 401
    with pytest.raises(ConfigError, match="chmod 600"):
        metrics_token.ensure(path)
    path.unlink()
    assert fetch(live, "/metrics", token)[0] == 401


@needs_prometheus
def test_prometheus_comes_over_tls(tmp_path: Path) -> None:
    """As docs/monitoring/README.md says, with a certificate that nobody has signed."""
    more = ("-nodes", "-addext", "subjectAltName=IP:127.0.0.1")
    cert, key = certificate(tmp_path / "pki", *more)
    live = Live(tmp_path, identity=tls.identity(str(cert), str(key)))
    metrics_token.ensure(live.app.paths.metrics_token)
    config = f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: ipymesos
    scheme: https
    tls_config: {{ca_file: "{cert}"}}
    authorization: {{credentials_file: "{live.app.paths.metrics_token}"}}
    static_configs: [{{targets: ["{live.url.removeprefix("https://")}"]}}]
"""
    try:
        with Prometheus(tmp_path, config) as prometheus:
            eventually(lambda: prometheus.value('up{job="ipymesos"}') == 1)
            assert prometheus.value("ipymesos_connected") == 0
    finally:
        live.end()


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_a_token_that_can_be_guessed_opens_nothing(live: Live, content: str) -> None:
    path = live.app.paths.metrics_token
    path.parent.mkdir(exist_ok=True)
    path.touch(0o600)
    path.write_text(content)
    assert fetch(live, "/metrics", content.strip())[0] == 401
    metrics_token.ensure(path)
    assert fetch(live, "/metrics", path.read_text().strip())[0] == 200


def test_the_file_of_the_token_is_made_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--token-file", "--profile-dir", str(tmp_path)]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "security" / "ipymesos-metrics.token" and len(path.read_text()) > 40


def test_events_of_a_cluster_that_has_ended(live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("one", "two"):
        live.run(live.app.herald.tell, Happening("trouble", text), live.app.owner.state)
    where = ["--profile-dir", str(tmp_path), "--cluster-id", "c"]
    for follow in ([], ["--follow"]):
        assert main(["events", *where, *follow]) == 0
        assert [said.partition("  ")[2] for said in capsys.readouterr().out.splitlines()] == ["one", "two"]
    assert main(["events", *where, "--after", "1", "--output", "json"]) == 0
    assert [json.loads(said)["text"] for said in capsys.readouterr().out.splitlines()] == ["two"]


def test_there_are_no_events_of_what_never_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--profile-dir", str(tmp_path)]) == NotRunning.exit_code
    assert main(["events", "--profile-dir", str(tmp_path), "--after", "-1"]) == ConfigError.exit_code


def test_a_line_for_people() -> None:
    event = {"seq": 1, "at": "2026-03-14T10:10:49.262Z", "text": "engines wanted", "by": "launcher"}
    assert line(event).endswith("  engines wanted (by launcher)") and line(event).startswith("2026-03-1")
    assert line({"at": "never", "text": "t"}) == "t"
    assert line({"at": "never", "text": "it said: \x1b]0;mine\x07 \ud800\n\x9b31m"}) == "it said: �]0;mine� � �31m"
