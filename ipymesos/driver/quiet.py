"""Import pymesos without what its import does to the process.

pymesos.process installs a SIGINT handler when it is imported, which raises ValueError outside the main thread and
takes Ctrl-C from whoever handles it; pymesos/__init__.py adds a handler to its logger and makes it talkative. This
module lets it do neither. What it offers is pymesos' scheduler driver.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _signals_kept() -> Iterator[None]:
    """No signal handler can be set by this thread meanwhile; other threads don't notice."""
    real, importer = signal.signal, threading.get_ident()

    def set_handler(signum: int, handler: Any) -> Any:
        return signal.getsignal(signum) if threading.get_ident() == importer else real(signum, handler)

    signal.signal = set_handler  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = real


@contextmanager
def _logger_kept(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level, handlers = logger.level, list(logger.handlers)
    try:
        yield
    finally:
        logger.setLevel(level)
        for handler in set(logger.handlers) - set(handlers):
            logger.removeHandler(handler)


with _signals_kept(), _logger_kept("pymesos"):
    from pymesos import MesosSchedulerDriver

__all__ = ["MesosSchedulerDriver"]
