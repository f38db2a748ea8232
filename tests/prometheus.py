"""A real Prometheus of one's own, on loopback, where this machine has the program (Debian: `prometheus`)."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.helpers import eventually

WHERE = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
PROMETHEUS, PROMTOOL = (shutil.which(name, path=WHERE) or "" for name in ("prometheus", "promtool"))
needs_prometheus = pytest.mark.skipif(not (PROMETHEUS and PROMTOOL), reason="no Prometheus here (see scripts/setup)")


class Prometheus:
    """Runs with `config` from `with` on."""

    def __init__(self, folder: Path, config: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = int(sock.getsockname()[1])
        self._folder, self._config = folder, config
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        config = self._folder / "prometheus.yml"
        config.write_text(self._config)
        command = [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={self._folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        try:
            eventually(self._ready, 60)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    def _ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, (self._folder / "log").read_text()
        try:
            return self._get("/-/ready")[0] == 200
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ask(self, what: str, **query: str) -> Any:
        """The `data` of an answer of its API; AssertionError if it doesn't understand the question."""
        status, text = self._get(f"/api/v1/{what}?{urlencode(query)}")
        answer = json.loads(text)
        assert status == 200 and answer["status"] == "success", answer
        return answer["data"]

    def value(self, expression: str) -> float | None:
        """Of the only series that it names; None if there is none yet."""
        result = self.ask("query", query=expression)["result"]
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None
