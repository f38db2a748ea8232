"""The Mesos process, by way of its keeper (keeper.py): started, waited for and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from . import keeper, settings
from .errors import LocalMesosError

HERE = Path(__file__).parent
PATIENCE = 45.0  # s for the keeper to end everything: its own limits, and Docker's


class MesosProcess:
    """A keeper of its own, and the Mesos process that it keeps, if any. Safe to use from several threads.

    `pid` is that of Mesos, None when there is none; `status` how the last one ended (subprocess' returncode).
    """

    def __init__(self, orders: keeper.Orders) -> None:
        self.orders = orders
        self.pid: int | None = None
        self.status: int | None = None
        self.changed = threading.Condition()
        self._stopped: str | None = None
        with open(orders.log, "ab") as log:
            os.fchmod(log.fileno(), 0o600)
            self._keeper = subprocess.Popen(
                [sys.executable, "-ISB", str(HERE / "keeper.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env=settings.inherited(),
                pass_fds=orders.hold,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to act on, not the keeper's
            )
        threading.Thread(target=self._listen, name="local-mesos", daemon=True).start()
        self._say(json.dumps(asdict(orders)))

    @classmethod
    def recipe(cls, path: Path) -> list[str]:
        """The command of a Mesos that is made to this recipe; the keeper appends its own process id."""
        return [sys.executable, "-ISB", str(HERE / "boot.py"), str(path)]

    def start(self) -> None:
        """Have Mesos started; returns before it is up."""
        with self.changed:
            self.status = None
        self._say("start")
        with self.changed:
            self.changed.wait_for(lambda: self.pid is not None or self.status is not None or not self.kept(), 10.0)

    def kept(self) -> bool:
        """Whether the keeper lives."""
        return self._keeper.poll() is None

    def wait(self, timeout: float | None = None) -> bool:
        """Whether Mesos ended within so many seconds."""
        with self.changed:
            return self.changed.wait_for(lambda: self.pid is None, timeout)

    def end(self, leave: bool) -> str:
        """End Mesos and the keeper, and unless told to leave them all executors; "" or what could not be done."""
        assert self._keeper.stdin is not None
        try:
            self._keeper.stdin.write(b"leave\n" if leave else b"stop\n")
            self._keeper.stdin.close()
        except BrokenPipeError:
            return self._do_without(leave)
        try:
            self._keeper.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
            return f"the keeper, process {self._keeper.pid}, did not finish within {PATIENCE:g} s"
        with self.changed:
            self.changed.wait_for(lambda: self._stopped is not None, 1.0)
        return self._do_without(leave) if self._stopped is None else self._stopped

    def _do_without(self, leave: bool) -> str:
        """The keeper was killed, and Mesos with it: do here what it would have done."""
        self._keeper.wait()
        if leave:
            return ""
        problem = keeper.end_everything(self.orders.work_dir, self.orders.docker)
        return problem or (keeper.remove(Path(self.orders.work_dir)) if self.orders.private else "")

    def _say(self, line: str) -> None:
        assert self._keeper.stdin is not None
        try:
            self._keeper.stdin.write(line.encode() + b"\n")
            self._keeper.stdin.flush()
        except BrokenPipeError:
            raise LocalMesosError("the keeper of the local Mesos has died") from None

    def _listen(self) -> None:
        """Take in what the keeper says, until it ends."""
        assert self._keeper.stdout is not None
        with self._keeper.stdout as answers:
            for line in answers:
                answer = json.loads(line)
                with self.changed:
                    if "started" in answer:
                        self.pid = answer["started"]
                    elif "ended" in answer:
                        self.pid, self.status = None, answer["ended"]
                    elif "stopped" in answer:
                        self._stopped = answer["stopped"]
                    self.changed.notify_all()
        with self.changed:
            self.pid = None  # Mesos dies with its keeper
            self.changed.notify_all()
