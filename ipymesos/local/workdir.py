"""The work dir of a local Mesos: what we put there before Mesos starts, and what it remembers for the next start.

agents/ and the replicated log are Mesos' own; ours are local.json (what each agent offers, so that a restart offers
the same), recipe.json (for boot.py), launcher/ (helpers that Mesos runs), credentials.json, lock and mesos.log.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import cache_from_source
from pathlib import Path

from . import agents as offered
from .election import Election
from .errors import FlagError, LocalMesosError
from .ports import Block, Locks, retake_blocks, take_blocks
from .warm import Warm

LOCK_PATIENCE = 5.0  # s: a Mesos that was just killed needs a moment to be gone
LONGEST_SHEBANG = 120  # bytes; Linux before 5.1 cuts at 127


@dataclass(frozen=True)
class Agent:
    """What one agent offers; `block` is its own range of ports, None when the ports were named by the user."""

    resources: str
    attributes: str
    block: Block | None


def lock(work_dir: Path) -> int:
    """The descriptor of the work dir's lock; LocalMesosError when another Mesos runs there."""
    descriptor = os.open(work_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise FlagError(
                    f"--work-dir: another local Mesos runs in {work_dir}; allowed: a folder of its own for each"
                ) from None
            time.sleep(0.02)


def settle_agents(
    work_dir: Path, count: int, resources: offered.Texts, attributes: offered.Texts, locks: Locks
) -> list[Agent]:
    """What each agent offers: as at the last start in this work dir, else as asked, with ports of its own."""
    offered.check_count(count, 0)
    wanted = [offered.parse_resources(text) for text in offered.one_each("--resources", resources, count)]
    offered.check_ports(wanted)
    traits = [offered.check_attributes(text) for text in offered.one_each("--attributes", attributes, count)]
    known = _read(work_dir)[:count]
    retake_blocks([agent.block for agent in known if agent.block], locks)
    settled: list[Agent] = []
    fresh = sum(offered.wants_ports(wanted[i]) for i in range(len(known), count))
    blocks = take_blocks(fresh, locks) if fresh else []
    for i in range(count):
        if i < len(known):
            settled.append(_same(work_dir, i, known[i], wanted[i], traits[i], count))
        else:
            block = blocks.pop(0) if offered.wants_ports(wanted[i]) else None
            settled.append(Agent(offered.complete(wanted[i], count, block, work_dir), traits[i], block))
    offered.check_ports([offered.parse_resources(agent.resources) for agent in settled])
    _write(work_dir / "local.json", json.dumps([asdict(agent) for agent in settled], indent=1))
    return settled


def _same(
    work_dir: Path, number: int, known: Agent, resources: list[offered.Resource], attributes: str, count: int
) -> Agent:
    """The agent as it was. One that offers something else would refuse to recover (slave.cpp, compatibility)."""
    advice = f"allowed: the same, nothing at all, or another --work-dir than {work_dir}"
    if resources:
        kept = {str(resource) for resource in offered.parse_resources(known.resources)}
        changed = [str(resource) for resource in resources if str(resource) not in kept]
        if changed:
            raise FlagError(
                f"--resources: {changed[0]!r} is not what agent {number} offered before, {known.resources!r}; {advice}"
            )
    if attributes and attributes != known.attributes:
        raise FlagError(
            f"--attributes: {attributes!r} are not those that agent {number} had before, {known.attributes!r}; {advice}"
        )
    return known


def _read(work_dir: Path) -> list[Agent]:
    path = work_dir / "local.json"
    try:
        entries = json.loads(path.read_text())
        return [
            Agent(entry["resources"], entry["attributes"], tuple(entry["block"]) if entry["block"] else None)
            for entry in entries
        ]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise LocalMesosError(f"{path} is damaged ({error!r}): remove it, or take another --work-dir") from error


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:
        stream.write(text)
    part.rename(path)


def install_launcher(work_dir: Path) -> Path:
    """The folder of helpers (MESOS_LAUNCHER_DIR). The agent needs no others than these two."""
    folder = work_dir / "launcher"
    folder.mkdir(mode=0o700, exist_ok=True)
    package = folder / "containerizer"
    package.mkdir(mode=0o700, exist_ok=True)
    compiled = package / "__pycache__"
    compiled.mkdir(mode=0o700, exist_ok=True)
    for source in Path(__file__).with_name("containerizer").glob("*.py"):
        # With their times, by which Python knows that what has been compiled of the one belongs to the other.
        shutil.copy2(source, package)
        if (cached := Path(cache_from_source(str(source)))).exists():
            shutil.copy2(cached, compiled)
    program = f"import sys\nsys.path.insert(0, {str(folder)!r})\nfrom containerizer import launch\nlaunch.main()\n"
    python = sys.executable
    if len(python) < LONGEST_SHEBANG and not set(python) & set(" \t"):
        _write(folder / "mesos-containerizer", f"#!{python} -ISB\n{program}", 0o700)
    else:
        _write(folder / "main.py", program)
        quoted = "'" + python.replace("'", "'\\''") + "'"
        script = f'#!/bin/sh\nexec {quoted} -ISB "$(dirname "$0")/main.py" "$@"\n'
        _write(folder / "mesos-containerizer", script, 0o700)
    # Never run; but Mesos up to 1.8.1 takes any executor for a command's when this is missing (slave.cpp, Executor).
    _write(folder / "mesos-executor", "#!/bin/sh\nexit 1\n", 0o700)
    return folder


def tell_of(warm: Warm, folder: Path) -> None:
    """Let the helper in this folder know of it."""
    _write(folder / "warm.json", json.dumps({"begin": warm.begin, "end": warm.end, "socket": warm.socket}))


def write_recipe(work_dir: Path, library: Path, agents: list[Agent], election: Election) -> Path:
    """What boot.py needs to know."""
    flags = work_dir / "flags"
    flags.mkdir(mode=0o700, exist_ok=True)
    fifos = {
        str(flags / "resources"): [agent.resources for agent in agents],
        str(flags / "attributes"): [agent.attributes for agent in agents],
    }
    recipe = work_dir / "recipe.json"
    _write(recipe, json.dumps({"library": str(library), "fifos": fifos} | asdict(election)))
    return recipe


def write_credentials(work_dir: Path, credentials: Mapping[str, str]) -> Path:
    path = work_dir / "credentials.json"
    pairs = [{"principal": principal, "secret": secret} for principal, secret in credentials.items()]
    _write(path, json.dumps({"credentials": pairs}))
    return path
