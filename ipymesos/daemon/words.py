"""The status for people, in the command line and on the page: made of what the REST API answers."""

from __future__ import annotations

import time
from typing import Any

from ..core.reasons import span
from ..errors import one_line


def status(status: dict[str, Any], now: float | None = None) -> str:
    """A page for people: what runs where, and what it waits for."""
    now = status.get("now", time.time()) if now is None else now
    master = f"master {status['master']}" if status["connected"] else "no master"
    lines = [
        f"{status['name']}{' ' + status['cluster_id'] if status['cluster_id'] else ''}: {status['state']},"
        f" {master}, framework {status['framework_id'] or '(none yet)'}, daemon pid {status['pid']}"
    ]
    controller = status["controller"]
    where = f" on {agent(controller)}, task {controller['task']}" if controller["task"] else ""
    lines.append(f"controller: {controller['state']}{where}")
    if controller["message"] and controller["state"] != "running":
        lines.append(f"  {one_line(controller['message'])}")
    if not status["engines"]:
        lines.append("no engines are wanted")
    for name, engines in status["engines"].items():
        lines.append(f"engine set {name}: {engines['running']} of {engines['wanted']} running, {engines['state']}")
        if engines["message"]:
            lines.append(f"  {one_line(engines['message'])}")
        rows: list[tuple[str, ...]] = [("ID", "STATE", "SINCE", "AGENT", "CONTAINER", "TASK", "MESSAGE")]
        for task in engines["tasks"]:
            number = "-" if task["engine_id"] is None else str(task["engine_id"])
            since = span(now - task["since"])
            rows.append(
                (
                    number,
                    task["state"],
                    since,
                    agent(task),
                    task["container"],
                    task["task"],
                    one_line(task["message"])[:60],
                )
            )
        if len(rows) > 1:
            lines += table(rows)
    failures = [end for end in status["exits"] if not end["asked"]]
    if failures:
        lines.append("ended without being asked:")
        for end in failures[-5:]:
            said = one_line(end["message"]) or end["reason"]
            lines.append(f"  {span(now - end['at'])} ago, {end['task']} on {end['agent']}: {end['state']} {said}")
    if status["explain"]:
        lines.append(status["explain"])
    return "\n".join(lines)


def agent(task: dict[str, Any]) -> str:
    """Its host, and the end of its id, since a host may have several agents: 'host S0'."""
    return f"{task['agent']} {task['agent_id'].rpartition('-')[2]}".strip()


def table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
