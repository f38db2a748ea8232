"""A process that has imported an executor's world, from which those of one private Mesos are forked.

It needs longer to be ready than Mesos to boot, so it is begun before anything else. Hence this imports next to nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading

TYPE_CHECKING = False  # importing typing takes longer than the rest of this
if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "IPYMESOS_LOCAL_WORK_DIR"  # the one in keeper.py, which finds by it what it has to end
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 10.0  # seconds for the process to end, once those that it has forked have


class Warm:
    """Executors whose command line, one for the shell, starts with `begin` and stops with `end` are forked from it.

    `command` is that process; it is given the path of the socket to listen at, see containerizer/warm.py. It belongs to
    the Mesos with this `work_dir`, which is private, and whose end ends it. The two have the caller's life at most.
    """

    def __init__(self, command: Sequence[str], begin: str, end: str) -> None:
        self.begin, self.end = begin, end
        self.process: subprocess.Popen[bytes] | None = None
        self.work_dir = os.path.realpath(tempfile.mkdtemp(prefix="ipymesos-local-"))
        os.mkdir(os.path.join(self.work_dir, "launcher"), 0o700)
        self.socket = os.path.join(self.work_dir, "launcher", "warm")
        log = os.open(os.path.join(self.work_dir, "mesos.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.process = subprocess.Popen(
                [*command, self.socket],
                env={"PATH": os.environ.get("PATH", DEFAULT_PATH), MARK: self.work_dir},  # as executors have it
                cwd=self.work_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        except OSError:
            return  # whoever needs an executor starts it, and says what is wrong
        finally:
            os.close(log)
        threading.Thread(target=self.process.wait, name="ipymesos-warm", daemon=True).start()

    def stop(self) -> None:
        """For when the Mesos has ended, or none has come of it."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        shutil.rmtree(self.work_dir, ignore_errors=True)
