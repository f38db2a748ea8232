"""A driver and what it said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ipymesos.core.messages import Event
from ipymesos.driver import Driver
from ipymesos.mesos import Framework, Preferences
from tests.helpers import eventually

FRAMEWORK = Framework("test", "nobody")
E = TypeVar("E")


class Heard:
    """The driver's events and its end, in the order they came."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ends: list[Exception] = []

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def wait(self, kind: type[E], count: int = 1, timeout: float = 15.0) -> E:
        """The count-th event of that kind."""
        eventually(lambda: self.ends or len(self.of(kind)) >= count, timeout)
        assert not self.ends, self.ends
        return self.of(kind)[count - 1]

    def end(self, timeout: float = 15.0) -> Exception:
        eventually(lambda: self.ends, timeout)
        return self.ends[0]


@contextmanager
def driving(
    master: str, framework: Framework = FRAMEWORK, prefer: Preferences | None = None, **options: Any
) -> Iterator[tuple[Driver, Heard]]:
    heard = Heard()
    driver = Driver(framework, master, heard.events.append, heard.ends.append, **options)
    if prefer is not None:
        driver.prefer(prefer)
    driver.start()
    try:
        yield driver, heard
    finally:
        driver.stop()
    assert len(heard.ends) <= 1
