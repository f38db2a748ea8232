"""The cluster tab of a Jupyter server: of an error that isn't one of HTTP it says "Unhandled error", and no more."""

from __future__ import annotations

import sys

from tornado.web import HTTPError

from .base import StartError, exit_code


class ToldInTab(StartError, HTTPError):
    """A start that came to nothing, whose reason the tab shows."""

    def __init__(self, error: Exception) -> None:
        HTTPError.__init__(self, 500, str(error))
        self.exit_code = exit_code(error)
        self.why = str(error)

    def __str__(self) -> str:
        return self.why


def is_served() -> bool:
    """Is this process a Jupyter server? (Not every cluster of its tab has it as a parent.)"""
    module = sys.modules.get("jupyter_server.serverapp")
    return module is not None and bool(module.ServerApp.initialized())
