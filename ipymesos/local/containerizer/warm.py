"""An executor that is forked from a process which has loaded it already, instead of being started.

Beside us may be warm.json, {"begin": text, "end": text, "socket": path}: who listens at the socket forks what a command
of the shell would start that begins and ends so, its arguments in between. A connection is one executor:

    we say      {"arguments": [...], "folder": path, "environment": {...}}, with the descriptors of stdout and stderr
    and hear    {"pid": number}, at once, and {"status": as of wait(2)}, at its end

When we end before, it ends too.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLAIN = ("MESOS_", "LIBPROCESS_")  # variables by which no program is started otherwise than by others
OUTPUT = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class Borrowed:
    """One executor that is somebody else's child."""

    def __init__(self, connection: socket.socket) -> None:
        self._answers = connection.makefile("rb")
        self._connection = connection  # at its end the executor ends
        self.pid = int(self._answer()["pid"])

    def wait(self) -> int:
        """Its wait status; when nobody is left to tell it, it has died with whom it was forked from."""
        try:
            return int(self._answer()["status"])
        except (OSError, ValueError, KeyError):
            return int(signal.SIGKILL)

    def _answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer


def borrow(info: dict[str, Any], environment: dict[str, str], folder: str) -> Borrowed | None:
    """The executor of this launch info; None if it has to be started. `folder` is where warm.json would be."""
    try:
        with open(os.path.join(folder, "warm.json")) as file:
            known = json.load(file)
        line = info["command"]["value"] if info["command"].get("shell", True) else ""
        begin, end = known["begin"], known["end"]
        strange = [name for name in environment if name != "PATH" and not name.startswith(PLAIN)]
        if strange or info.get("rlimits") or not (line.startswith(begin) and line.endswith(end)):
            return None
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(known["socket"])
        sandbox = info.get("working_directory") or os.getcwd()
        outputs = [os.open(os.path.join(sandbox, name), OUTPUT, 0o644) for name in ("stdout", "stderr")]
        request = {
            "arguments": shlex.split(line[len(begin) : -len(end)]),
            "folder": sandbox,
            "environment": environment,
        }
        socket.send_fds(connection, [b"{"], outputs)
        connection.sendall(json.dumps(request).encode()[1:] + b"\n")
        for output in outputs:
            os.close(output)
        return Borrowed(connection)
    except (OSError, ValueError, KeyError):
        return None  # there is none, or it can't: the usual way goes always
