"""The one error of this package: a local Mesos that could not be had, in a sentence for the person who asked."""

from __future__ import annotations


class LocalMesosError(Exception):
    """The local Mesos cannot be prepared, started or kept; the message says which part and what to do."""


class FlagError(LocalMesosError, ValueError):
    """An option has a value that is not allowed; the message names the option, the value and what is allowed."""
