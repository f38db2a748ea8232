"""`python -m ipymesos local`: a real Mesos in the foreground, for as long as one wants it."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from typing import Any

from .agents import check_count
from .archive import DEFAULT_VERSION, RELEASES
from .cluster import LocalMesos
from .errors import FlagError, LocalMesosError
from .ports import check_address, check_port

USUAL_PORT = 5050  # where people expect a Mesos master
DESCRIPTION = (
    "Start a real Mesos master with agents on this machine and keep it until Ctrl-C. "
    "The official release is downloaded once, as pip is configured to, and kept in your cache folder."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `local`. Values are checked by `run`, which explains what is allowed."""
    parser.description = DESCRIPTION
    add = parser.add_argument
    add("--agents", metavar="N", default="1", help="how many agents, all on this machine (default: 1)")
    add("--port", metavar="P", help=f"TCP port of the master (default: {USUAL_PORT}, or a free one if it is in use)")
    add("--ip", metavar="ADDRESS", default="127.0.0.1", help="IPv4 address of this machine (default: 127.0.0.1)")
    add(
        "--resources",
        metavar="TEXT",
        action="append",
        help="what an agent offers, such as 'cpus:4;mem:8000;ports:[31000-31099]' (mem and disk in MB); once for all "
        "agents or once for each. What is left out gets a generous value, and ports that no other agent has",
    )
    add("--attributes", metavar="TEXT", action="append", help="such as 'rack:r1;zone:a'; as often as --resources")
    add(
        "--work-dir",
        metavar="D",
        help="keep all state in this folder, so that a killed Mesos can be started again on it "
        "(default: a private folder, removed at the end)",
    )
    add("--containerizers", metavar="LIST", default="mesos", help="mesos (processes; the default), docker or both")
    add(
        "--image",
        metavar="NAME",
        action="append",
        help="a Docker image that the mesos containerizer shall run, too (root only): one that the local Docker has, "
        "or the path of a folder of files NAME:TAG.tar made by `docker save`; as often as you like",
    )
    add("--mesos-version", metavar="V", default=DEFAULT_VERSION, help=f"one of {', '.join(RELEASES)}")
    add("--archive", metavar="FILE", help="the official archive of that version, instead of downloading it")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 after a stop that was asked for, 2 for a bad option, 1 when Mesos does not start or dies."""
    try:
        mesos = LocalMesos(
            agents=check_count(_whole("--agents", args.agents, "1 or more")),
            port=_port(args),
            ip=args.ip,
            resources=args.resources,
            attributes=args.attributes,
            work_dir=args.work_dir,
            containerizers=args.containerizers,
            images=args.image,
            version=args.mesos_version,
            archive=args.archive,
        )
        return _serve(mesos)
    except FlagError as error:
        print(f"ipymesos local: {error}", file=sys.stderr)
        return 2
    except LocalMesosError as error:
        print(f"ipymesos local: {error}", file=sys.stderr)
        return 1


def _serve(mesos: LocalMesos) -> int:
    asked = threading.Event()
    starting = True

    def stop(_number: int, _frame: Any) -> None:
        asked.set()
        if starting:
            raise KeyboardInterrupt  # out of a download or a wait

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means: stay
            signal.signal(number, stop)
    began = time.monotonic()
    try:
        mesos.start()
        starting = False
    except KeyboardInterrupt:
        return 0
    try:
        passed = time.monotonic() - began
        count = f"{mesos.count} agent{'s' if mesos.count > 1 else ''}"
        where = "" if mesos.private else f", work dir {mesos.work_dir}"
        print(
            f"Mesos {mesos.version} answers at {mesos.master}, {count} registered after {passed:.1f} s{where}. "
            f"Use it with IPYMESOS_MASTER={mesos.master}; Ctrl-C ends it.",
            flush=True,
        )
        if not mesos.ip.startswith("127."):
            print(f"Whoever reaches {mesos.ip} can run programs here: this Mesos asks nobody for a login.", flush=True)
        while not asked.wait(0.2):
            if mesos.wait(0):
                # A crash, not a stop: what a later start on this work dir can recover is left to it.
                failure = mesos.failure()
                mesos.stop(keep_executors=not mesos.private)
                raise LocalMesosError(failure)
    finally:
        mesos.stop()
    return 0


def _whole(option: str, text: str, allowed: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FlagError(f"{option}: {text!r} is not a whole number; allowed: {allowed}") from None


def _port(args: argparse.Namespace) -> int:
    if args.port is not None:
        port = _whole("--port", args.port, "1 to 65535, or 0 for any free port")
        if not 0 <= port <= 65535:
            raise FlagError(f"--port: {port} is not allowed; allowed: 1 to 65535, or 0 for any free port")
        return port
    address = check_address(args.ip)
    try:
        check_port(address, USUAL_PORT)
    except FlagError:
        return 0
    return USUAL_PORT
