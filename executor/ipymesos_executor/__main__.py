"""python -m ipymesos_executor controller|engines [--preload a,b]: started by a Mesos agent, never by hand."""

from __future__ import annotations

import argparse
import os
import resource
import socket
import sys

DESCRIPTORS = 1 << 16  # as far as the hard limit allows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ipymesos_executor", description=__doc__, allow_abbrev=False)
    parser.add_argument("kind", choices=("controller", "engines"))
    parser.add_argument("--preload", default="", help="modules to import once, before engines are forked: a,b")
    options = parser.parse_args()
    if "MESOS_SLAVE_PID" not in os.environ:
        parser.error("this program is started by a Mesos agent (MESOS_SLAVE_PID is not set)")
    # A core dump would land in the sandbox, which the agent serves, with every key in it.
    # The hard limit stays, for whoever needs one.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # A controller's processes have descriptors for each engine of the cluster, a zygote for each of its own: 1,024,
    # which is usual, are too few for a thousand engines.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, DESCRIPTORS)), hard))
    ours, zygotes = socket.socketpair()
    # First of all, while there is one thread and nothing but the standard library: everything is forked from there.
    pid = os.fork()
    if pid == 0:
        ours.close()
        from . import zygote

        zygote.main(zygotes, options.kind, [name for name in options.preload.split(",") if name])
    zygotes.close()
    from .program import run

    return run(ours, pid)


if __name__ == "__main__":
    sys.exit(main())
