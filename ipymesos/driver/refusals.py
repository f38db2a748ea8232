"""What the master's ways of saying no mean: try again (StreamError), elsewhere (Redirected), or never (MesosError)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from ..errors import FrameworkRemoved, MesosError, NotAuthorized, SubscriptionRefused
from ..masters import MESOS_PORT, Address, address
from .stream import Head, StreamError


class Redirected(StreamError):
    """Another master leads."""

    def __init__(self, leader: Address) -> None:
        super().__init__(f"it says that {leader} leads")
        self.leader = leader


def judge(head: Head, master: str) -> None:
    """Raise for every answer to SUBSCRIBE but the event stream (docs/scheduler-http-api.md)."""
    if head.status == HTTPStatus.OK:
        if "mesos-stream-id" not in head.headers:
            raise StreamError("it sends no Mesos-Stream-Id: is it a Mesos master?")
        return
    said = f"HTTP {head.status}" + (f": {head.body[:500]}" if head.body else "")
    if head.status == HTTPStatus.TEMPORARY_REDIRECT:
        location = head.headers.get("location", "")
        try:
            leader = address(urlsplit(location).netloc or location, MESOS_PORT)
        except ValueError as error:
            raise StreamError(f"it redirects to {location!r}") from error
        raise Redirected(leader)
    if head.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise NotAuthorized(f"The Mesos master {master} doesn't accept our principal and secret: {said}")
    if 400 <= head.status < 500 and head.status != HTTPStatus.NOT_FOUND:  # 404: its routes are not there yet
        raise SubscriptionRefused(f"The Mesos master {master} refuses the framework: {said}")
    raise StreamError(f"it answers {said}")


def refusal(message: Any, master: str) -> StreamError | MesosError:
    """What an ERROR event means. It names the role, the principal or the framework that the master won't have."""
    error = message.get("error")
    text = str(error.get("message", "") if isinstance(error, dict) else error)
    if "capacity(" in text:  # framework-rate-limiting.md: a message of ours was dropped, and we cannot know which
        return StreamError(f"it says: {text}")
    said = f"The Mesos master {master} refuses the framework: {text}"
    lower = text.lower()
    if "failed over" in lower:
        return SubscriptionRefused(f"Another scheduler has taken over this framework at {master} ({text})")
    if any(phrase in lower for phrase in ("framework has been removed", "completed", "torn down")):
        return FrameworkRemoved(said)
    if "not authorized" in lower or "not authenticated" in lower:
        return NotAuthorized(said)
    return SubscriptionRefused(said)
