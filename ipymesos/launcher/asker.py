"""The daemon's client as the launchers use it: the events name who wanted what."""

from __future__ import annotations

from .. import client


class Daemon(client.Daemon):
    who = "launcher"
