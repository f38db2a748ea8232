"""A Docker engine of a test's own, which may die without harm to anybody else's containers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil

from ipymesos.local import leftovers
from tests.helpers import eventually

NETWORKS = Path("/sys/class/net")


def missing() -> str:
    """Why there can't be such an engine here, or ""."""
    if os.geteuid() != 0:
        return "only root can start a Docker engine"
    programs = ("dockerd", "containerd", "ip")
    return ", ".join(f"there is no `{program}`" for program in programs if shutil.which(program) is None)


class DockerEngine:
    """dockerd with containerd, data, socket and images of its own; without networks, so containers use the host's.

    A context manager, at whose end no process, container, mount or bridge of it is left. live_restore: containers live
    on while it is not there (dockerd's --live-restore).
    """

    def __init__(self, live_restore: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="docker-"))  # a short path: a socket's has at most 107 bytes
        self.socket = self.folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self.live_restore = live_restore
        self.bridge = f"ipym-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DockerEngine:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Return when it answers."""
        if not (NETWORKS / self.bridge).exists():
            subprocess.run(["ip", "link", "add", self.bridge, "type", "bridge"], check=True)
            subprocess.run(["ip", "address", "add", "10.213.47.1/24", "dev", self.bridge], check=True)
        command = [
            "dockerd",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/pid",
            f"--host={self.host}",
            f"--live-restore={str(self.live_restore).lower()}",
            f"--bridge={self.bridge}",  # with none dockerd removes docker0, the bridge of the machine's own engine
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._answers, 60)

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        return subprocess.run(["docker", "--host", self.host, "info"], capture_output=True).returncode == 0

    def end(self, number: signal.Signals) -> None:
        """SIGTERM: as the system does; SIGKILL: as a crash does, and containerd dies with it."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children()
        self._process.send_signal(number)
        self._process.wait(60)
        for child in children if number == signal.SIGKILL else ():
            child.kill()
        psutil.wait_procs(children, 60)  # the next dockerd would take one that is dying for its own

    def docker(self, *arguments: str) -> str:
        """What the docker command says to these arguments."""
        done = subprocess.run(["docker", "--host", self.host, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def load(self, image: str) -> None:
        """Take an image from the machine's own Docker."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save:
            subprocess.run(
                ["docker", "--host", self.host, "load"], stdin=save.stdout, stdout=subprocess.DEVNULL, check=True
            )
        assert save.returncode == 0

    def close(self) -> None:
        if self._process is not None:
            if self._process.poll() is not None:
                self.start()  # nobody else can remove what it left
            if names := self.docker("ps", "--all", "--quiet").split():
                self.docker("rm", "--force", "--volumes", *names)
            self.end(signal.SIGTERM)
        for other in self.processes():
            other.kill()
        eventually(lambda: self.processes() == [])
        for _, path, _ in reversed(leftovers.mounts()):
            if path.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", path], check=True)
        if (NETWORKS / self.bridge).exists():
            subprocess.run(["ip", "link", "delete", self.bridge], check=True)
        shutil.rmtree(self.folder)

    def processes(self) -> list[psutil.Process]:
        """containerd and the parents of its containers, whatever has become of dockerd."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            ours = any(str(self.folder) in word for word in process.info["cmdline"] or [])
            if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found
