"""What tests share: waiting, and nothing else that could hide a fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], timeout: float = 30.0, interval: float = 0.05) -> T:
    """Call `check` until it returns something true, and return that; seconds for both times.

    An AssertionError counts as "not yet". At the end the AssertionError says what was seen last, so that a
    failed wait explains itself. Any other exception is a fault of the test or the product and passes at once.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            seen: object = check()
            if seen:
                return seen  # type: ignore[return-value]
        except AssertionError as error:
            seen = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s; last seen: {seen!r}")
        time.sleep(interval)
