"""The REST client of the daemon, for the command line and the launchers.

Plain blocking calls on the standard library's http.client: no event loop, no thread, so it works in every thread,
inside a running loop's executor, and while the interpreter shuts down.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .daemonfile import DaemonFile, began
from .errors import ConfigError, Gone, IPyMesosError, NotRunning, Unreadable, from_exit_code
from .paths import Paths
from .tls import PinnedConnection

TRIES = 5  # of a request for which the daemon has no time
LONGEST_REASON = 500  # characters that the daemon takes
LONGEST_REST = 5.0  # seconds between two of them
REFUSALS = {400: ConfigError, 404: ConfigError, 413: ConfigError, 410: Gone, 502: Unreadable}  # by HTTP's number


class Daemon:
    """A running daemon. Every call raises NotRunning when it is gone, ConfigError when it refuses (HTTP 400)."""

    who = "Python"  # the events name who wanted what

    def __init__(self, file: DaemonFile, timeout: float = 30.0) -> None:
        self.file = file
        self.timeout = timeout  # seconds that one answer may take

    def __repr__(self) -> str:
        return f"Daemon(pid={self.pid}, url={self.url!r})"

    @property
    def pid(self) -> int:
        return self.file.pid

    @property
    def url(self) -> str:
        return self.file.url

    @classmethod
    def find(cls, profile_dir: str | Path, cluster_id: str = "") -> Daemon:
        """The daemon of this profile and cluster id, ready or not; NotRunning with its last error if there is none."""
        paths = Paths(Path(profile_dir), cluster_id)
        file = DaemonFile.read(paths.daemon_file)
        name = f"cluster {cluster_id!r}" if cluster_id else "cluster"
        if file is None:
            others = ", ".join(repr(other) for other in paths.others())
            hint = f"; the cluster ids there are {others}" if others else f" (there is no {paths.daemon_file.name})"
            raise NotRunning(f"no {name} of ipymesos runs in the profile {profile_dir}{hint}")
        if not file.alive:
            cause = f": {file.error}" if file.error else " without a word"
            if paths.state_file.exists():
                cause += (
                    "; its tasks may still run: `python -m ipymesos start --resume` takes them over, and then"
                    " `python -m ipymesos stop` ends them"
                )
            raise NotRunning(f"the {name} of the profile {profile_dir} has ended (pid {file.pid}){cause}")
        if file.error:
            raise NotRunning(f"the {name} in the profile {profile_dir} is ending: {file.error}")
        return cls(file)

    @classmethod
    def wait_ready(cls, profile_dir: str | Path, cluster_id: str = "", pid: int = 0, timeout: float = 60.0) -> Daemon:
        """Wait until the daemon is registered with its master; `pid` is the one just started, 0 stands for any.

        Raises the error that ended it, as the class it was over there, or NotRunning after `timeout` seconds.
        """
        path = Paths(Path(profile_dir), cluster_id).daemon_file
        deadline = time.monotonic() + timeout
        while True:
            file = DaemonFile.read(path)
            if file is not None and (not pid or file.pid == pid):
                if file.error:
                    raise from_exit_code(file.exit_code, file.error)
                if file.ready:
                    return cls(file)
            if pid and not began(pid) and (file is None or file.pid != pid or not file.error):
                again = DaemonFile.read(path)  # it may have written its error between the two looks
                if again is not None and again.pid == pid and again.error:
                    raise from_exit_code(again.exit_code, again.error)
                raise NotRunning(f"the daemon, pid {pid}, ended before it was registered with a master")
            if time.monotonic() > deadline:
                raise NotRunning(f"the daemon wasn't registered with a master within {timeout:g} s")
            time.sleep(0.05)

    @property
    def alive(self) -> bool:
        return self.file.alive

    def join(self, timeout: float = 60.0) -> bool:
        """Wait until the daemon's process has ended; False if it still runs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    # --- the API -------------------------------------------------------------------------------------------

    def status(self, after: int | None = None, timeout: float = 0.0) -> dict[str, Any]:
        """What there is. With `after`, wait up to `timeout` seconds until the version is another one."""
        query = "" if after is None else "?" + urlencode({"after": after, "timeout": timeout})
        return self._call("GET", f"cluster{query}", wait=timeout)

    def want_engines(
        self,
        engine_set: str,
        n: int,
        options: Mapping[str, Any] | None = None,
        engine_args: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Let `engine_set` have n engines. Without `options` an engine set that exists keeps its own."""
        body: dict[str, Any] = {"n": n}
        if options is not None:
            body.update(options=dict(options), engine_args=list(engine_args))
        elif engine_args:
            body["engine_args"] = list(engine_args)
        return self._call("PUT", f"engines/{quote(engine_set, safe='')}", body)

    def drop_engines(self, engine_set: str) -> dict[str, Any]:
        return self._call("DELETE", f"engines/{quote(engine_set, safe='')}")

    def signal(self, engine_set: str, signum: int) -> dict[str, Any]:
        """Send a signal to every engine process of the set (not to the containers' first processes)."""
        return self._call("POST", f"engines/{quote(engine_set, safe='')}/signal", {"signal": signum})

    def explain(self) -> dict[str, Any]:
        return self._call("GET", "explain")

    def logs(self) -> dict[str, Any]:
        """Whose logs there are, of tasks that have ended lately as well: {"scheduler": path, "logs": [...]}."""
        return self._call("GET", "logs")

    def log(
        self, name: str, *, tail: int | None = None, offset: int | None = None, stream: str = "log"
    ) -> dict[str, Any]:
        """A piece of the log of "controller", "scheduler", an engine's number or a task's id: its `text`, and `next`,
        the offset of what follows. The last `tail` lines, or what there is from `offset` (bytes) on, else the end.

        `stream`: "log" is the task's own; "stdout" and "stderr" are its container's. Gone when the agent has it no
        longer, Unreadable when it can't be asked.
        """
        asked = {"stream": stream, "tail": tail, "offset": offset}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        return self._call("GET", f"logs/{quote(str(name), safe='')}?{query}")

    def events(self, after: int = 0, timeout: float = 0.0) -> list[dict[str, Any]]:
        """What has happened after event number `after`, the oldest first, a thousand at most; docs/events.md says what.

        If nothing has, wait for it up to `timeout` seconds.
        """
        query = urlencode({"after": after, "timeout": timeout})
        return list(self._call("GET", f"events?{query}", wait=timeout)["events"])

    def metrics(self) -> str:
        """As Prometheus reads them."""
        return self._ask("GET", "/metrics").decode()

    def retire(self, task: str) -> dict[str, Any]:
        """End one engine, and want one less; busy ones get their grace."""
        return self._call("POST", f"tasks/{quote(task, safe='')}/retire")

    def restart(self, task: str) -> dict[str, Any]:
        """End one engine, and have another one take its place."""
        return self._call("POST", f"tasks/{quote(task, safe='')}/restart")

    def login_code(self) -> str:
        """With which a browser can log in to the dashboard, once, within two minutes."""
        return str(self._call("POST", "login/code")["code"])

    def stop(self, reason: str = "") -> dict[str, Any]:
        """Ask for the end of the cluster, and don't wait for it: see join(). A long reason is cut."""
        if len(reason) > LONGEST_REASON:
            reason = reason[: LONGEST_REASON - 1] + "…"
        return self._call("POST", "stop", {"reason": reason})

    def _call(self, method: str, path: str, body: object = None, wait: float = 0.0) -> dict[str, Any]:
        text = self._ask(method, f"/api/v1/{path}", body, wait)
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise self._silent(error) from None

    def _ask(self, method: str, path: str, body: object = None, wait: float = 0.0, tries: int = TRIES) -> bytes:
        connection = self._connection(self.timeout + wait)
        headers = {
            "Authorization": f"Bearer {self.file.token}",
            "Content-Type": "application/json",
            "User-Agent": f"ipymesos ({self.who})",
        }
        try:
            data = json.dumps(body).encode() if body is not None else b"{}" if method in ("POST", "PUT") else None
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            text = response.read()
            problem = json.loads(text) if response.status >= 400 else {}
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silent(error) from (None if self.alive else error)
        finally:
            connection.close()
        if response.status == 429 and tries > 1:  # too many at once; it was not done
            time.sleep(min(LONGEST_REST, float(response.headers.get("Retry-After", 1))))
            return self._ask(method, path, body, wait, tries - 1)
        if response.status >= 400:
            message = str(problem.get("error", response.reason))
            raise REFUSALS.get(response.status, IPyMesosError)(message)
        return text

    def _silent(self, error: Exception) -> NotRunning:
        if not self.alive:
            return NotRunning(f"the daemon, pid {self.pid}, has ended")
        why = repr(error) if isinstance(error, OSError) else type(error).__name__  # which may quote the token
        return NotRunning(f"the daemon, pid {self.pid}, doesn't answer at {self.url}: {why}")

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        try:
            where = urlsplit(self.url)
            host, port = where.hostname or "", where.port
        except ValueError:
            raise NotRunning(f"the daemon file names no address: {self.url!r}") from None
        if where.scheme == "https":
            return PinnedConnection(host, port, self.file.fingerprint, timeout)
        return http.client.HTTPConnection(host, port, timeout=timeout)
