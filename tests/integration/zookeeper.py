"""A real ZooKeeper server of one's own, where this machine has the program (Debian: `zookeeper` and a Java)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from kazoo.client import KazooClient

from tests.helpers import eventually

JARS = Path("/usr/share/java")
MISSING = (
    ""
    if shutil.which("java") and (JARS / "zookeeper.jar").exists()
    else "no ZooKeeper on this machine: needs java and /usr/share/java/zookeeper.jar (apt-get install zookeeper)"
)


class ZooKeeperServer:
    """Listens on a loopback port of its own from `with` on; kill() and start() play a crash."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = int(sock.getsockname()[1])
        self.hosts = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ZooKeeperServer:
        self._folder.mkdir(exist_ok=True)
        lines = [
            "tickTime=200",  # milliseconds; sessions may last 2 to 20 of these
            "maxSessionTimeout=10000",
            f"dataDir={self._folder / 'data'}",
            f"clientPort={self.port}",
            "clientPortAddress=127.0.0.1",
            "admin.enableServer=false",
        ]
        (self._folder / "zoo.cfg").write_text("\n".join(lines) + "\n")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    "java",
                    "-Xmx128m",
                    "-cp",
                    f"{JARS / 'zookeeper.jar'}:{JARS}/*",
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    "zoo.cfg",
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, 60)

    def kill(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        client = KazooClient(self.hosts, timeout=5)
        try:
            client.start(timeout=2)
            return True
        except client.handler.timeout_exception:
            return False
        finally:
            client.stop()
            client.close()
