"""Why am I waiting? The scheduler's answer, for people who sit before Python: `ipymesos.explain(cluster)`."""

from __future__ import annotations

import copy
from html import escape
from typing import Any

from .client import Daemon
from .errors import NotRunning

RULE = "border-left:3px solid rgba(128,128,128,.5);padding:.1em .8em;margin:.4em 0"
FAINT = "opacity:.75"


class Explanation:
    """What a cluster waits for. Prints as text, and in a notebook as a short page.

    `summary` is one line, `text` all of it, `groups` the same as data: one dictionary for the controller and each
    engine set that is not complete, whose keys docs/waiting.md describes.
    """

    def __init__(self, answer: dict[str, Any]) -> None:
        self._answer = answer

    @property
    def summary(self) -> str:
        return str(self._answer["summary"])

    @property
    def text(self) -> str:
        return str(self._answer["text"])

    @property
    def groups(self) -> list[dict[str, Any]]:
        return list(self.as_dict()["groups"])

    def as_dict(self) -> dict[str, Any]:
        return copy.deepcopy(self._answer)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        groups = self._answer["groups"]
        if not groups:
            return f'<div style="{RULE}">{escape(self.text)}</div>'
        head = self.text.partition("\n")[0]
        return f'<div style="{FAINT}">{escape(head)}</div>' + "".join(map(group_html, groups))


def group_html(group: dict[str, Any]) -> str:
    """One group; readable on light and dark pages, since it has no colours of its own."""
    from .core.reasons import span  # and with it much of the core, of which launchers have no use

    name = "controller" if group["group"] == "controller" else f"engine set {group['group']}"
    coming = f", {group['coming']} coming" if group["coming"] else ""
    lines = [
        f"<b>{escape(name)}</b>: {group['running']} of {group['wanted']} running{coming},"
        f" waiting for {span(group['waited'])}",
        escape(group["message"]),
    ]
    refused = ", ".join(f"{reason} {n}" for reason, n in group["refused"].items() if n)
    if refused:
        lines.append(f'<span style="{FAINT}">offers since then: {group["offers"]}; refused agents: {refused}</span>')
    if 0 < (group["room"] or 0) < group["wanted"]:
        lines.append(f"all agents together could hold {group['room']} of these engines, if nothing else ran there")
    if group["words"]:
        said = f'<pre style="margin:.2em 0">{escape(group["words"])}</pre>'
        lines.append(f"<details><summary>what it wrote last</summary>{said}</details>")
    if group["hint"]:
        lines.append(f"<i>what could help: {escape(group['hint'])}</i>")
    return f'<div style="{RULE}">{"<br>".join(lines)}</div>'


def ended(why: str) -> Explanation:
    """Of a cluster that has no scheduler to ask."""
    return Explanation({"summary": why, "text": why, "groups": []})


def scheduler(cluster: Any) -> Daemon:
    """The scheduler of an ipyparallel.Cluster on Mesos; NotRunning, with the reason, if there is none."""
    for launcher in (cluster.controller, *cluster.engines.values()):
        if (find := getattr(launcher, "scheduler", None)) is not None:
            return find()  # type: ignore[no-any-return]
    return Daemon.find(cluster.profile_dir, cluster.cluster_id)


def explain(cluster: Any) -> Explanation:
    """What `cluster` waits for, an ipyparallel.Cluster whose launchers are "mesos": this object or another one, in this
    program or another one. Of one that has failed: why."""
    try:
        return Explanation(scheduler(cluster).explain())
    except NotRunning as error:
        return ended(str(error))
