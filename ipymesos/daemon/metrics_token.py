"""The token with which a monitoring program sees the metrics, and nothing else.

It is in a file of its own, which is made when somebody asks for it and stays: Prometheus is told of it once, while the
daemon's token is another one with each start. Whoever removes the file takes that right back.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from ..errors import ConfigError
from ..paths import NotPrivate, read_private, write_private

SHORTEST = 32  # characters; what is easier to guess opens nothing


def matches(path: Path, given: str) -> bool:
    """In a time that doesn't tell how much of it is right. A file that others may read counts for nothing."""
    try:
        token = read_private(path, follow=False).strip()
    except (OSError, NotPrivate):
        return False
    return len(token) >= SHORTEST and hmac.compare_digest(given.encode("utf-8", "replace"), token)


def ensure(path: Path) -> None:
    """Make the file if there is none. ConfigError if that can't be done, or others may read it."""
    try:
        try:
            token = read_private(path, follow=False).strip()
        except FileNotFoundError:
            token = b""
        if len(token) < SHORTEST:
            write_private(path, secrets.token_urlsafe(32).encode() + b"\n")
    except NotPrivate as error:
        raise ConfigError(f"{path} holds the token for the metrics, and {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be made: {error.strerror or error}") from error
