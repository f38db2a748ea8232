"""Where a key could come to light, and the look for it there."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from tests.e2e.kit import Running, ask, docker

Text = tuple[str, bytes]  # where exactly, and what is there

MASTER = ("/state", "/tasks", "/frameworks", "/slaves", "/state-summary", "/flags", "/roles", "/metrics/snapshot")
AGENT = ("/state", "/containers", "/flags", "/monitor/statistics")
CALLS = ("GET_STATE", "GET_TASKS", "GET_EXECUTORS", "GET_FRAMEWORKS", "GET_FLAGS", "GET_OPERATIONS")
ANYBODY = ssl.create_default_context()  # certificates are not what is looked for here
ANYBODY.check_hostname, ANYBODY.verify_mode = False, ssl.CERT_NONE
REST = ("cluster", "explain")


def forms(secret: str) -> list[bytes]:
    """The secret as it is, and as it would look inside base64, hex, JSON or a URL."""
    plain = secret.encode()
    found = {plain, plain.hex().encode(), plain.hex().upper().encode(), urllib.parse.quote(secret, safe="").encode()}
    found |= {json.dumps(secret)[1:-1].encode(), secret.replace("/", "\\/").encode()}
    found.add("".join(f"\\u{ord(c):04x}" if c in "<>&" else c for c in secret).encode())
    for shift in range(3):
        # Somewhere inside a longer text: the characters at both ends depend on its neighbours.
        coded = base64.b64encode(b"\0" * shift + plain).rstrip(b"=")
        core = coded[-(-shift * 8 // 6) : len(coded) if (shift + len(plain)) % 3 == 0 else -1]
        found |= {core, core.replace(b"+", b"-").replace(b"/", b"_"), core.replace(b"/", b"\\/")}
    return sorted(found)


def hits(texts: Iterable[Text], secrets: Iterable[str]) -> list[str]:
    """The names of the texts that hold one of the secrets in any form."""
    needles = [form for secret in secrets for form in forms(secret)]
    return [name for name, content in texts if any(needle in content for needle in needles)]


def files(folder: Path) -> Iterator[Text]:
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()
        except OSError:  # removed meanwhile, or a socket
            continue


def processes() -> tuple[list[Text], list[Text]]:
    """The arguments and the environments of all processes that may be looked at."""
    arguments, environments = [], []
    for pid in psutil.pids():
        for name, found in (("cmdline", arguments), ("environ", environments)):
            try:
                found.append((f"/proc/{pid}/{name}", Path(f"/proc/{pid}/{name}").read_bytes()))
            except OSError:  # it has ended, or is not ours
                continue
    return arguments, environments


def web(url: str, token: str = "") -> Text:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(
            request, timeout=20, context=ANYBODY if url.startswith("https") else None
        ) as answer:
            return url, str(answer.headers).encode() + answer.read()
    except urllib.error.HTTPError as error:
        return url, str(error.headers).encode() + error.read()


def places(cluster: Running, login: tuple[str, str] | None = None) -> dict[str, list[Text]]:
    """Everything that others may see of this cluster, by kind of place. `login`: an operator's principal and secret."""
    mesos, home = cluster.home.mesos, cluster.home
    address, work_dir = mesos.master, mesos.work_dir
    assert work_dir is not None
    agents = [agent["pid"].split("@")[0] for agent in mesos.agents]
    found = {
        "master": [web(f"http://{address}/master{path}") for path in MASTER],
        "agents": [web(f"http://{address}/{agent}{path}") for agent in agents for path in AGENT],
        "operator API": [
            (f"{call} {where}", json.dumps(ask(address, f"/{where}/api/v1", {"type": call}, login)).encode())
            for where in ("master", *agents)
            for call in CALLS
        ],
        "sandboxes": [text for folder in work_dir.glob("agents/*/work/slaves") for text in files(folder)],
        "agents' checkpoints": [text for folder in work_dir.glob("agents/*/work/meta") for text in files(folder)],
        "Mesos' log": [(str(mesos.log), mesos.log.read_bytes())],
        "Mesos' other files": [
            text for text in files(work_dir) if not {"slaves", "meta"} & set(Path(text[0]).relative_to(work_dir).parts)
        ],
        "daemon's log": list(files(home.profile_dir / "log")),
        "cluster file": list(_cluster_files(home.profile_dir)),
        "REST": [
            web(f"{cluster.daemon.url}/{path}", token)
            for path in ("", *(f"api/v1/{name}" for name in REST))
            for token in ("", cluster.daemon.file.token)
        ],
    }
    found["arguments"], found["environments"] = processes()
    inspected = cluster.containers()
    if inspected:
        found["docker inspect"] = [(one["Name"], json.dumps(one).encode()) for one in inspected]
        found["docker logs"] = [(one["Name"], docker("logs", one["Id"]).encode()) for one in inspected]
        found["files of containers"] = [
            text for one in inspected for part in ("tmp", "dev/shm", "root", "run", "opt/ipymesos/etc", "mnt")
            for text in files(Path(f"/proc/{one['State']['Pid']}/root/{part}"))
        ]  # fmt: skip
    return found


def _cluster_files(profile_dir: Path) -> Iterator[Text]:
    for path in profile_dir.glob("security/cluster-*.json"):
        yield str(path), path.read_bytes()
