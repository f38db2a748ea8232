"""Judge what the trial's tasks have seen, or why they didn't run. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.specs import Container
from ..errors import StartFailed
from .findings import Finding, fail, ok, skip, warn

CLOCKS = 10.0  # seconds between two clocks that nobody minds
OLDEST_IPYPARALLEL = 9


# What Mesos, Docker or the executor says, whether it is about images only, and what to do then; the first one counts.
CAUSES: tuple[tuple[str, bool, str], ...] = (
    (
        "no such kind of task|speaks protocol",
        False,
        "ipymesos-executor in {place} is of another version than ipymesos here: install the same there",
    ),
    (
        "no module named '?ipymesos_executor",
        False,
        "install ipymesos-executor in {place}, or set python to the one that has it",
    ),
    (
        "containerizer|unknown container",
        True,
        "the agents must run images: mesos-agent --containerizers=docker,mesos (or --image_providers=docker)",
    ),
    (
        "pull|manifest|no such image|registry|access denied",
        True,
        "can {host} get it? `docker pull {image}` there tells; check the name and the tag, and the agents' login",
    ),
    (
        "no such file|not found|exited with status 127",
        False,
        "is {python!r} there, in {place}? set python to the right path",
    ),
    ("no such user|user .* not|failed to chown", False, "set user to an account that the agents have"),
    ("can't be imported", False, "install what is missing in {place}"),
)
ELSE = "Mesos' pages show the sandbox on that agent: stdout and stderr there may say more"


def launch_failed(host: str, container: Container, said: str) -> Finding:
    """What to do about a container or an executor that didn't come up, by what is said of it."""
    facts = {"host": host, "image": container.image, "python": container.python, "place": _place(container)}
    advice = next(
        (
            advice.format(**facts)
            for pattern, image, advice in CAUSES
            if (container.image or not image) and re.search(pattern, said, re.IGNORECASE)
        ),
        ELSE,
    )
    return fail("task", f"on {host}: {said}", advice, StartFailed.exit_code)


def launch_late(host: str, container: Container, waited: float) -> Finding:
    what = (
        f"the image {container.image!r} may still be on its way" if container.image else "its executor doesn't come up"
    )
    advice = "try again with a longer --timeout, and give a start as long: the option start_timeout"
    return fail("task", f"on {host}: not running within {waited:g} s; {what}", advice, StartFailed.exit_code)


def _place(container: Container) -> str:
    return f"the image {container.image!r}" if container.image else "the agents' Python"


@dataclass(frozen=True)
class Here:
    """The versions of the client's side."""

    python: str
    ipyparallel: str
    ipymesos: str


def versions(found: Mapping[str, Any], here: Here, curve: bool, check_python: bool) -> list[Finding]:
    """What runs on the agents against what runs here."""
    theirs = {name: str(found.get(name, "?")) for name in ("python", "ipyparallel", "pyzmq", "executor")}
    code = StartFailed.exit_code
    if _minor(theirs["python"]) != _minor(here.python):
        said = f"Python {theirs['python']} there, {here.python} here: functions can't be shipped between them"
        advice = f"use an image with Python {_minor(here.python)}"
        python = fail("python", said, advice, code) if check_python else warn("python", said, advice)
    else:
        python = ok("python", f"{theirs['python']} there, {here.python} here")
    said = f"ipyparallel {theirs['ipyparallel']} there, {here.ipyparallel} here"
    if _major(theirs["ipyparallel"]) < OLDEST_IPYPARALLEL:
        parallel = fail("ipyparallel", said, f"install {OLDEST_IPYPARALLEL} or later there", code)
    elif _minor(theirs["ipyparallel"]) != _minor(here.ipyparallel):
        parallel = warn("ipyparallel", said, "they should be the same: install the one version on both sides")
    else:
        parallel = ok("ipyparallel", said)
    if theirs["executor"] != here.ipymesos:
        said = f"ipymesos-executor {theirs['executor']} there, ipymesos {here.ipymesos} here"
        executor = warn("executor", said, "install the same version on both sides")
    else:
        executor = ok("executor", f"ipymesos-executor {theirs['executor']}, pyzmq {theirs['pyzmq']}")
    if curve and found.get("curve") is not True:
        said = f"pyzmq {theirs['pyzmq']} there knows no CURVE"
        executor = fail("executor", said, "install a pyzmq with libsodium there (its wheels have it)", code)
    return [python, parallel, executor]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _major(version: str) -> int:
    return int(found[0]) if (found := re.match(r"\d+", version)) else 0


def from_here(where: str, problem: str) -> Finding:
    """Whether this machine reaches a task's port."""
    if not problem:
        return ok("gateway", f"{where}, where a controller could be, is reached from here")
    return fail(
        "gateway",
        f"{where}, where a controller could be, can't be reached from here: {problem}",
        "let this machine in at the agents' ports (31000-32000, unless they offer others), or set controller_ip to an "
        "address at which their tasks are reached from here",
        StartFailed.exit_code,
    )


def between(reached: Mapping[str, Mapping[str, str]]) -> Finding:
    """By agent: what it reaches, and why not."""
    bad = [f"{host} to {where}: {why}" for host, places in reached.items() for where, why in places.items() if why]
    if bad:
        return fail(
            "agents",
            f"agents don't reach tasks' ports: {'; '.join(bad)}",
            "engines connect to the controller's agent: allow the agents' port ranges between them",
            StartFailed.exit_code,
        )
    if not any(reached.values()):
        return skip("agents", "no task could try")
    return ok("agents", f"{' and '.join(reached)} reach{'es' * (len(reached) == 1)} the tasks' ports")


def listening(where: str, problem: str) -> Finding | None:
    if not problem:
        return None
    if "assign" in problem:
        advice = "the agent has no such address: set its --ip to one it has, or controller_ip"
    else:
        advice = "somebody else uses a port that Mesos offers: let the agents offer others, or end that program"
    return fail("listening", f"a task can't listen on {where}: {problem}", advice, StartFailed.exit_code)


def clocks(seconds: Mapping[str, float]) -> Finding:
    """By machine: how far its clock is ahead of ours."""
    wrong = {name: ahead for name, ahead in seconds.items() if abs(ahead) > CLOCKS}
    if not seconds:
        return skip("clocks", "nobody has told the time")
    if not wrong:
        return ok("clocks", f"within {CLOCKS:g} s of {', '.join(seconds)}")
    listed = ", ".join(f"{name} by {ahead:+.0f} s" for name, ahead in wrong.items())
    return warn(
        "clocks",
        f"differ from here: {listed}",
        "let all machines keep their time by NTP: announced maintenance is judged by it",
    )


def logs(problem: str) -> Finding:
    if not problem:
        return ok("logs", "a task's log can be read from its agent")
    return warn(
        "logs", problem, "`logs` won't work: allow this machine the agents' port, and the principal to read sandboxes"
    )
