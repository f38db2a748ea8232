"""A real Mesos on this machine: master and agents in one process, started, watched and ended by `LocalMesos`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Mapping, Sequence

from . import library, ports, settings, workdir
from .agents import Texts, check_attributes, check_count, check_ports, one_each, parse_resources
from .archive import DEFAULT_VERSION, check_version
from .errors import LocalMesosError

HERE = Path(__file__).parent
PROBE_TIMEOUT = 1.0  # s; a request that arrives while Mesos boots may never be answered
PROBE_INTERVAL = 0.02  # s
KEEPER_PATIENCE = 45.0  # s for the keeper to end everything: its own limits, and Docker's


class LocalMesos:
    """A Mesos master with agents, private to whoever made this object. A context manager, or start() and stop().

    agents: how many. port: of the master, 0 for a free one. ip: of this machine; loopback unless told otherwise.
    resources, attributes: Mesos' text form, one for all agents or one for each; what is left out is filled in, and
    each agent gets ports of its own. work_dir: kept, and may be used again after a crash; None is a private folder,
    and then everything ends with this process, however it ends. containerizers: "mesos" (processes) and "docker".
    version, archive: see `library.prepare`. credentials: principal -> secret, and then frameworks must have one of
    them. roles: the only ones that frameworks may have, none for any. environment: more MESOS_* variables.
    start_timeout: seconds until all agents must be registered. All errors are LocalMesosError, of which FlagError
    says that a value is not allowed.
    """

    def __init__(
        self,
        agents: int = 1,
        port: int = 0,
        *,
        ip: str = "127.0.0.1",
        resources: Texts = None,
        attributes: Texts = None,
        work_dir: str | os.PathLike[str] | None = None,
        containerizers: str = "mesos",
        version: str = DEFAULT_VERSION,
        archive: str | os.PathLike[str] | None = None,
        credentials: Mapping[str, str] | None = None,
        roles: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self.count = check_count(agents)
        self.version = check_version(version)
        check_ports([parse_resources(text) for text in one_each("--resources", resources, agents)])
        for text in one_each("--attributes", attributes, agents):
            check_attributes(text)
        self._resources, self._attributes = resources, attributes
        self._ip, self._port = ip, port
        self.private = work_dir is None
        self._asked_dir = Path(os.path.realpath(work_dir)) if work_dir is not None else None
        self.work_dir: Path | None = None
        self._containerizers = containerizers
        self._archive = Path(archive) if archive is not None else None
        self._credentials = dict(credentials or {})
        self._roles = tuple(roles)
        self._environment = dict(environment or {})
        self._start_timeout = start_timeout
        self._lock = threading.RLock()
        self._news = threading.Condition()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._status: int | None = None
        self._stopped: str | None = None
        self._log_start = 0

    def __repr__(self) -> str:
        return f"<LocalMesos {self.version} at {self._ip}:{self._port}, {self.count} agents, pid {self._pid}>"

    def __enter__(self) -> LocalMesos:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def master(self) -> str:
        """host:port of the master."""
        if self._keeper is None:
            raise LocalMesosError("this local Mesos is not running")
        return f"{self._ip}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The Mesos process; None when it has ended."""
        return self._pid

    @property
    def agents(self) -> list[dict[str, Any]]:
        """The registered agents as the master tells them: id, hostname, pid, resources, attributes and more."""
        found = self._get("/master/slaves", timeout=10.0)
        return [agent for agent in found["slaves"] if agent["active"]]

    @property
    def log(self) -> Path:
        """What Mesos says, and what its executors print."""
        if self.work_dir is None:
            raise LocalMesosError("this local Mesos is not running")
        return self.work_dir / "mesos.log"

    def start(self) -> LocalMesos:
        """Return when the master answers and all agents are registered; leave nothing behind on failure."""
        with self._lock:
            if self._keeper is not None:
                raise LocalMesosError("this local Mesos is running already")
            path = library.prepare(self.version, self._archive)
            containerizers = settings.check_containerizers(self._containerizers)
            locks = ports.Locks()
            held = -1
            try:
                work_dir = self._make_work_dir()
                held = workdir.lock(work_dir)
                if self._port:
                    ports.check_port(self._ip, self._port)
                else:
                    self._port = ports.take_master_port(self._ip, locks)
                agents = workdir.settle_agents(work_dir, self.count, self._resources, self._attributes, locks)
                recipe = workdir.write_recipe(work_dir, path, agents)
                self._run_keeper(work_dir, recipe, containerizers, [held, *locks.filenos()])
                self._boot()
            except BaseException:
                self.stop()
                raise
            finally:
                locks.close()
                if held >= 0:
                    os.close(held)
            return self

    def kill(self) -> None:
        """End the Mesos process as a crash would, and nothing else: executors live on for a restart()."""
        with self._lock:
            pid = self._pid
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                self.wait()

    def restart(self) -> None:
        """Kill Mesos if it still runs, and start it again on the same port and work dir."""
        with self._lock:
            if self._keeper is None:
                raise LocalMesosError("this local Mesos is not running")
            self.kill()
            self._boot()

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status of the Mesos process once it has ended by itself, None after `timeout` seconds."""
        with self._news:
            self._news.wait_for(lambda: self._pid is None, timeout)
            return self._status if self._pid is None else None

    def stop(self, keep_executors: bool = False) -> None:
        """End Mesos, and all executors and containers that it started; remove a private work dir. Idempotent.

        keep_executors: let them live on for the next start on the same work dir.
        """
        with self._lock:
            keeper, self._keeper = self._keeper, None
            problem = self._end_keeper(keeper, keep_executors) if keeper is not None else ""
            with self._news:
                self._pid = None
                self._news.notify_all()
            if self.private and self.work_dir is not None and not problem:
                # The keeper has removed it, unless it was killed itself or has never run.
                problem = self._sweep(self.work_dir) if self.work_dir.exists() else ""
            self.work_dir = None
        if problem:
            raise LocalMesosError(f"the local Mesos has ended, but not everything of it: {problem}")

    def _make_work_dir(self) -> Path:
        if self._asked_dir is None:
            work_dir = Path(os.path.realpath(tempfile.mkdtemp(prefix="ipymesos-local-")))
        else:
            work_dir = self._asked_dir
        try:
            work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Agents checkpoint tasks there, with the connections that these carry: for nobody else's eyes.
            (work_dir / "agents").mkdir(mode=0o700, exist_ok=True)
            (work_dir / "agents").chmod(0o700)
        except OSError as error:
            raise workdir.FlagError(
                f"--work-dir: {work_dir} cannot be used ({error.strerror}); allowed: a folder that you may write to"
            ) from None
        self.work_dir = work_dir
        return work_dir

    def _run_keeper(self, work_dir: Path, recipe: Path, containerizers: str, hold: list[int]) -> None:
        credentials = workdir.write_credentials(work_dir, self._credentials) if self._credentials else None
        environment = settings.environment(
            ip=self._ip,
            port=self._port,
            work_dir=work_dir,
            launcher_dir=workdir.install_launcher(work_dir),
            containerizers=containerizers,
            agents=self.count,
            credentials=credentials,
            roles=self._roles,
            extra=self._environment,
        )
        orders = {
            "command": [sys.executable, "-IB", str(HERE / "boot.py"), str(recipe)],
            "environment": environment,
            "work_dir": str(work_dir),
            "log": str(self.log),
            "private": self.private,
            "docker": "docker" in containerizers,
            "hold": hold,
        }
        with self.log.open("ab") as log:
            os.fchmod(log.fileno(), 0o600)
            self._log_start = log.tell()
            self._keeper = subprocess.Popen(
                [sys.executable, "-IB", str(HERE / "keeper.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=hold,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to act on
                cwd="/",
            )
        self._stopped = None
        threading.Thread(target=self._listen, args=(self._keeper,), name="local-mesos", daemon=True).start()
        self._say(json.dumps(orders))

    def _say(self, line: str) -> None:
        assert self._keeper is not None and self._keeper.stdin is not None
        try:
            self._keeper.stdin.write(line.encode() + b"\n")
            self._keeper.stdin.flush()
        except BrokenPipeError:
            raise LocalMesosError(f"the keeper of the local Mesos has died{self.log_tail()}") from None

    def _listen(self, keeper: subprocess.Popen[bytes]) -> None:
        """Take in what the keeper says, in a thread, until it ends."""
        assert keeper.stdout is not None
        with keeper.stdout:
            for line in keeper.stdout:
                answer = json.loads(line)
                with self._news:
                    if "started" in answer:
                        self._pid, self._status = answer["started"], None
                    elif "ended" in answer:
                        self._pid, self._status = None, answer["ended"]
                    elif "stopped" in answer:
                        self._stopped = answer["stopped"]
                    self._news.notify_all()
        with self._news:
            self._pid = None  # dead with the keeper
            self._news.notify_all()

    def _boot(self) -> None:
        """Have the keeper start Mesos; wait for the master, then for the agents."""
        deadline = time.monotonic() + self._start_timeout
        with self._news:
            self._status = None
        self._say("start")
        self._until(lambda: self._pid is not None or self._status is not None, deadline, "a process")
        self._until(lambda: "version" in self._get("/version"), deadline, "an answer of the master")
        self._until(self._all_registered, deadline, f"{self.count} registered agents")

    def _all_registered(self) -> bool:
        agents = self._get("/master/slaves")["slaves"]
        return sum(agent["active"] for agent in agents) >= self.count

    def _until(self, check: Any, deadline: float, what: str) -> None:
        while True:
            try:
                if check():
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass  # not yet: nothing listens, or Mesos is not ready for this request
            with self._news:
                if self._status is not None:
                    raise LocalMesosError(f"Mesos ended with status {self._status}{self.log_tail()}")
                if self._keeper is None or self._keeper.poll() is not None:
                    raise LocalMesosError(f"the keeper of the local Mesos has died{self.log_tail()}")
                if time.monotonic() > deadline:
                    raise LocalMesosError(f"no {what} within {self._start_timeout:g} s{self.log_tail()}")
                self._news.wait(PROBE_INTERVAL)

    def _get(self, path: str, timeout: float = PROBE_TIMEOUT) -> Any:
        connection = http.client.HTTPConnection(self._ip, self._port, timeout=timeout)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def log_tail(self) -> str:
        """What the log says about a failure: the errors, or else its last lines."""
        with self.log.open("rb") as stream:
            stream.seek(self._log_start)
            lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
        # glog's lines begin with a severity and the date; what is printed without that is a complaint too.
        bad = [line for line in lines if not (line[0] in "IW" and line[1:5].isdigit())]
        return "".join(f"\n  {line}" for line in (bad or lines)[-5:])

    def _end_keeper(self, keeper: subprocess.Popen[bytes], keep_executors: bool) -> str:
        assert keeper.stdin is not None
        try:
            keeper.stdin.write(b"leave\n" if keep_executors else b"stop\n")
            keeper.stdin.close()
        except BrokenPipeError:
            pass  # it is dead; what it left is ended below
        try:
            keeper.wait(KEEPER_PATIENCE)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
            return f"the keeper, process {keeper.pid}, did not finish within {KEEPER_PATIENCE:g} s"
        with self._news:
            self._news.wait_for(lambda: self._stopped is not None, 1.0)
            if self._stopped is not None:
                return self._stopped
        assert self.work_dir is not None
        return "" if keep_executors else self._sweep(self.work_dir)

    def _sweep(self, work_dir: Path) -> str:
        """Do what the keeper would have done."""
        from . import keeper

        problem = keeper.end_everything(str(work_dir), "docker" in self._containerizers)
        return problem or (keeper.remove(work_dir) if self.private else "")
