"""The errors that requests end with."""

from __future__ import annotations

from ipyparallel import error


class ControllerLost(error.RemoteError):
    """The controller was lost, or its cluster has been stopped, before this request was answered."""

    def __init__(self, why: str) -> None:
        super().__init__("ControllerLost", why, why)

    def __reduce__(self) -> tuple[type[ControllerLost], tuple[str]]:
        return ControllerLost, (str(self.evalue),)


def engine_died(name: str, why: str, msg_id: str) -> error.RemoteError:
    """What ipyparallel makes of it, and why it was."""
    text = f"Engine {name} died while running task {msg_id!r}" + (f": {why}" if why else "")
    return error.RemoteError("EngineError", text, text)
