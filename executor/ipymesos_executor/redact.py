"""Keep keys out of logs, whoever logs and at whatever level."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

SHORTEST = 8  # characters; nothing shorter is a key, and hiding it would hide ordinary words


def hide_in_logs(secrets: Iterable[str]) -> None:
    """From now on no log record of this process, or of one forked from it, contains any of these texts.

    ipyparallel's controller and engine print their whole configuration, keys included, at level DEBUG.
    """
    hidden = [text for text in secrets if len(text) >= SHORTEST]
    make = logging.getLogRecordFactory()

    def redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # arguments that don't fit their text: logging would print both
            text, record.args = str(record.msg), ()
        if any(secret in text for secret in hidden):
            for secret in hidden:
                text = text.replace(secret, "***")
            record.msg, record.args = text, ()
        return record

    if hidden:
        logging.setLogRecordFactory(redacted)
