"""A real Mesos on this machine: master and agents in one process, started, watched and ended by `LocalMesos`."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from . import keeper, library, ports, settings, workdir
from .agents import Texts, check_attributes, check_count, check_ports, one_each, parse_resources
from .archive import DEFAULT_VERSION, check_version
from .election import Election, get, leader_of
from .errors import FlagError, LocalMesosError
from .images import Images
from .process import MesosProcess
from .warm import Warm

PROBE_TIMEOUT = 1.0  # s; a request that arrives while Mesos boots may never be answered
PROBE_INTERVAL = 0.02  # s
TAIL = 5  # lines of the log in an error
# A booting agent looks at every container on the host that is an agent's, and gives up when another agent removes
# one of them meanwhile. It is worth a second try.
CONTAINER_VANISHED = "Failed to perform recovery"


class LocalMesos:
    """A Mesos master with agents, private to whoever made this object. A context manager, or start() and stop().

    agents: how many. port: of the master, 0 for a free one. ip: of this machine; loopback unless told otherwise.
    resources, attributes: Mesos' text form, one for all agents or one for each; what is left out is filled in, and
    each agent gets ports of its own. work_dir: kept, and may be used again after a crash; None is a private folder,
    and then everything ends with this process, however it ends. containerizers: "mesos" (processes) and "docker".
    images: Docker images that the mesos containerizer shall run, too, by their names in the local Docker, or folders
    of files NAME:TAG.tar made by `docker save`; an empty list when add_image() will name them.
    version, archive: see `library.prepare`. credentials: principal -> secret, and then frameworks, and who uses the
    operator API, must have one of them. roles: the only ones that frameworks may have, none for any. environment:
    more MESOS_* variables. start_timeout: seconds until all agents must be registered. election: whom the agents
    follow, if not the master in their own process (`LocalFleet` makes whole clusters of such processes); 0 agents are
    allowed, too. warm: executors that are forked instead of started; for a private work dir, as they end with us. All
    errors are LocalMesosError, of which FlagError says that a value is not allowed.
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
        images: Sequence[str] | None = None,
        version: str = DEFAULT_VERSION,
        archive: str | os.PathLike[str] | None = None,
        credentials: Mapping[str, str] | None = None,
        roles: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        start_timeout: float = 60.0,
        election: Election | None = None,
        warm: Warm | None = None,
    ) -> None:
        self.count = check_count(agents, 0)
        self.election = election or Election()
        self.version = check_version(version)
        check_ports([parse_resources(text) for text in one_each("--resources", resources, agents)])
        for text in one_each("--attributes", attributes, agents):
            check_attributes(text)
        self.containerizers = settings.check_containerizers(containerizers)
        if images is not None:
            settings.check_images(self.containerizers, agents)
        self._images: Images | None = None  # while it runs
        self._asked_images = images
        self.private = work_dir is None
        self.work_dir: Path | None = None  # while it runs
        self._asked_dir = Path(os.path.realpath(work_dir)) if work_dir is not None else None
        self._resources, self._attributes = resources, attributes
        self.ip = ports.check_address(ip)
        self._asked_port, self._port = port, port
        self._archive = Path(archive) if archive is not None else None
        self._credentials = dict(credentials or {})
        self._roles = tuple(roles)
        self._environment = dict(environment or {})
        self._start_timeout = start_timeout
        self._warm = warm
        self._log_start = 0
        self._lock = threading.RLock()
        self._process: MesosProcess | None = None

    def __repr__(self) -> str:
        return f"<LocalMesos {self.version} at {self.ip}:{self._port}, {self.count} agents, process {self.pid}>"

    def __enter__(self) -> LocalMesos:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def master(self) -> str:
        """host:port of the master in this process."""
        self._running()
        return f"{self.ip}:{self._port}"

    @property
    def leader(self) -> str:
        """host:port of the leading master, as this process knows it; OSError while it knows none."""
        return self._leader(10.0)

    @property
    def pid(self) -> int | None:
        """The Mesos process; None when it has ended."""
        return self._process.pid if self._process is not None else None

    @property
    def agents(self) -> list[dict[str, Any]]:
        """The registered agents of this process as the leading master tells them: id, pid, resources and more."""
        self._running()
        return self._registered(timeout=10.0)

    @property
    def log(self) -> Path:
        """What Mesos says, and what its executors print."""
        if self.work_dir is None:
            raise LocalMesosError("this local Mesos is not running")
        return self.work_dir / "mesos.log"

    def start(self) -> LocalMesos:
        """Return when the master answers and all agents are registered; leave nothing behind on failure."""
        self.begin()
        try:
            return self.until_up()
        except LocalMesosError as error:
            if "docker" not in self.containerizers or CONTAINER_VANISHED not in str(error):
                raise
        self.begin()
        return self.until_up()

    def begin(self) -> None:
        """The first half of start(): its processes run. Leaves nothing behind on failure."""
        with self._lock:
            if self._process is not None:
                raise LocalMesosError("this local Mesos is running already")
            with self._all_or_nothing():
                self._begin()

    def _begin(self) -> None:
        work_dir = self._make_work_dir()
        loadable = library.prepare(self.version, self._archive)
        locks = ports.Locks()
        try:
            locks.hold(workdir.lock(work_dir))
            if self._asked_port:
                ports.check_port(self.ip, self._asked_port)
            else:
                self._port = ports.take_master_port(self.ip, locks)
            agents = workdir.settle_agents(work_dir, self.count, self._resources, self._attributes, locks)
            if self._asked_images is not None or (work_dir / "images").exists():  # containers may run from them
                self._images = Images(work_dir)
                for source in self._asked_images or ():
                    self._images.add(source)
            recipe = workdir.write_recipe(work_dir, loadable, agents, self.election)
            self._process = MesosProcess(self._orders(work_dir, recipe, locks))
            self._process.start()
        finally:
            locks.close()

    def until_up(self) -> LocalMesos:
        """The second half."""
        with self._lock, self._all_or_nothing():
            self._wait()
        return self

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except LocalMesosError:
            self.stop(keep_executors=not self.private)  # those of an earlier start, which another may recover
            raise
        except BaseException:
            self.stop()
            raise

    def add_image(self, source: str) -> None:
        """Let containers have one more Docker image, or all of a folder: see `images` above, which must not be None."""
        with self._lock:
            self._running()
            if self._images is None:
                raise LocalMesosError("this local Mesos was started without images")
            self._images.add(source)

    def kill(self) -> None:
        """End the Mesos process as a crash would, and nothing else: executors live on for a restart()."""
        with self._lock:
            process = self._running()
            pid = process.pid
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                process.wait()

    def crash(self) -> None:
        """As kill(), and all executors and containers with it: as when a machine loses its power."""
        with self._lock:
            self.kill()
            problem = keeper.end_everything(str(self.work_dir), "docker" in self.containerizers, grace=0.0)
        if problem:
            raise LocalMesosError(f"not everything of the local Mesos has ended: {problem}")

    def restart(self, wait: bool = True) -> None:
        """Kill Mesos if it still runs, and start it again on the same port and work dir; wait until it is as before."""
        with self._lock:
            self.kill()
            self._running().start()
            if wait:
                self._wait()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the Mesos process has ended, within so many seconds."""
        process = self._process
        return process is None or process.wait(timeout)

    def stop(self, keep_executors: bool = False) -> None:
        """End Mesos, and all executors and containers that it started; remove a private work dir. Idempotent.

        keep_executors: let them live on for the next start on the same work dir.
        """
        with self._lock:
            process, self._process = self._process, None
            work_dir, self.work_dir, self._images = self.work_dir, None, None
            if process is not None:
                problem = process.end(leave=keep_executors)
            else:
                problem = keeper.remove(work_dir) if self.private and work_dir is not None else ""
        if problem:
            raise LocalMesosError(f"the local Mesos has ended, but not everything of it: {problem}")

    def failure(self) -> str:
        """How Mesos ended, and what its log says about it: the complaints, or else the last lines."""
        process = self._process
        try:
            text = self.log.read_bytes()[self._log_start :].decode(errors="replace")
        except OSError as error:
            text = f"{error.filename}: {error.strerror}"  # somebody removed the work dir, and so ended Mesos
        lines = [line for line in text.splitlines() if line.strip()]
        # glog's lines begin with a severity and the date; what is printed without that is a complaint too.
        bad = [line for line in lines if not (line[0] in "IW" and line[1:5].isdigit())]
        status = process.status if process is not None else None
        ended = f"Mesos ended with status {status}" if status is not None else "Mesos is not as it should be"
        return "\n  ".join([ended, *(bad or lines)[-TAIL:]])

    def _running(self) -> MesosProcess:
        if self._process is None:
            raise LocalMesosError("this local Mesos is not running")
        return self._process

    def _make_work_dir(self) -> Path:
        try:
            if self._warm is not None:
                work_dir = Path(self._warm.work_dir)
            else:
                work_dir = self._asked_dir or Path(os.path.realpath(tempfile.mkdtemp(prefix="ipymesos-local-")))
        except OSError as error:
            raise LocalMesosError(
                f"no folder for its files can be made in {error.filename}: {error.strerror}"
            ) from None
        self.work_dir = work_dir
        try:
            work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Agents checkpoint tasks there, with the connections that these carry: for nobody else's eyes.
            (work_dir / "agents").mkdir(mode=0o700, exist_ok=True)
            (work_dir / "agents").chmod(0o700)
        except OSError as error:
            raise FlagError(
                f"--work-dir: {work_dir} cannot be used ({error.strerror}); allowed: a folder that you may write to"
            ) from None
        return work_dir

    def _orders(self, work_dir: Path, recipe: Path, locks: ports.Locks) -> keeper.Orders:
        credentials = workdir.write_credentials(work_dir, self._credentials) if self._credentials else None
        launcher_dir = workdir.install_launcher(work_dir)
        if self._warm is not None:
            workdir.tell_of(self._warm, launcher_dir)
        environment = settings.environment(
            ip=self.ip,
            port=self._port,
            work_dir=work_dir,
            launcher_dir=launcher_dir,
            containerizers=self.containerizers,
            images=self._images is not None,
            agents=self.count,
            contends=not self.election.leader or self.election.masters > 0,
            credentials=credentials,
            roles=self._roles,
            extra=self._environment,
        )
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        return keeper.Orders(
            command=MesosProcess.recipe(recipe),
            environment=environment,
            work_dir=str(work_dir),
            log=str(self.log),
            private=self.private,
            docker="docker" in self.containerizers,
            hold=locks.filenos(),
        )

    def _wait(self) -> None:
        """For the master, then for the agents."""
        deadline = time.monotonic() + self._start_timeout
        self._until(lambda: bool(get(self.master, "/version", PROBE_TIMEOUT)), deadline, "an answer of the master")
        if self.election.masters:  # one that could not vote yet would keep the next leader from the registry
            self._until(self._votes, deadline, "a vote in the registry")
        self._until(lambda: len(self._registered()) >= self.count, deadline, f"{self.count} registered agents")

    def _until(self, check: Callable[[], bool], deadline: float, what: str) -> None:
        process = self._running()
        while True:
            try:
                if check():
                    return
            except (OSError, ValueError):
                pass  # not yet: nothing listens, or Mesos is not ready for this request
            if process.status is not None or not process.kept():
                raise LocalMesosError(self.failure())
            if time.monotonic() > deadline:
                raise LocalMesosError(f"not {what} within {self._start_timeout:g} s: {self.failure()}")
            process.wait(PROBE_INTERVAL)

    def _votes(self) -> bool:
        return bool(get(self.master, "/metrics/snapshot", PROBE_TIMEOUT).get("registrar/log/recovered"))

    def _leader(self, timeout: float) -> str:
        told = self.election.leader
        return leader_of(self.master, timeout) if not told or told.startswith("zk://") else told

    def _registered(self, timeout: float = PROBE_TIMEOUT) -> list[dict[str, Any]]:
        agents = get(self._leader(timeout), "/master/slaves", timeout)["slaves"]
        return [agent for agent in agents if agent["active"] and agent["pid"].endswith(f"@{self.master}")]
