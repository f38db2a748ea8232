"""Be a Mesos master and its agents, in one process: the program `python -IB boot.py RECIPE KEEPER`.

Mesos' own library has no entry "start a cluster", but its scheduler driver starts one when the master is called
`local` (src/sched/sched.cpp, src/local/local.cpp): constructing the driver is enough, it is never started. The
flags come from the environment, MESOS_* and LIBPROCESS_*. KEEPER is the process (`keeper.py`) that it ends with,
RECIPE a JSON file: {"library": PATH, "fifos": {"PATH": ["text for the first agent", ...]}}.

Agents of one process load the same environment, so what differs between them is a flag of the form file://PATH
where PATH is a FIFO: each agent reads it once while it loads its flags, one agent after the other.

This file imports nothing of ipymesos: it runs by itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading

DESCRIPTORS = 65536  # each agent has four, each executor more; programs that try to close all should not take long
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # prctl(2)

# The C++ names, as g++ mangles them, that are the same in Mesos 1.4 to 1.11.
STRING = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
INITIALIZE = f"_ZN7process10initializeERK6OptionI{STRING}ES9_S9_"
FRAMEWORK_INFO = "_ZN5mesos13FrameworkInfoC1Ev"
DRIVER = f"_ZN5mesos20MesosSchedulerDriverC1EPNS_9SchedulerERKNS_13FrameworkInfoERK{STRING}"


class String(ctypes.Structure):
    """std::string of libstdc++: a pointer, a length, and the capacity in the first half of the small buffer."""

    _fields_ = [
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
        ("unused", ctypes.c_size_t),
    ]


class OptionString(ctypes.Structure):
    """Option<std::string> of stout: SOME is 0."""

    _fields_ = [("state", ctypes.c_int), ("padding", ctypes.c_int), ("value", String)]


def cxx_string(text: str) -> String:
    data = text.encode()
    return String(data, len(data), len(data), 0)


def end_with(keeper: int) -> None:
    """Die at once when the keeper does, whatever kills it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    libc.prctl(PR_SET_NAME, b"mesos-local", 0, 0, 0)
    if os.getppid() != keeper:  # it died before the call above
        sys.exit("the keeper of this Mesos is gone")


def serve(path: str, texts: list[str]) -> None:
    """Give one text to each reader of the FIFO at `path`, in order. Runs in a thread.

    A reader is kept from the text of the next one by a fresh FIFO, put in place as soon as the old one is opened:
    agents open it one after the other, so nobody can be late.
    """
    for text in texts:
        writer = os.open(path, os.O_WRONLY)  # blocks until the agent opens its end
        os.mkfifo(path + ".next", 0o600)
        os.rename(path + ".next", path)
        with open(writer, "w") as stream:
            stream.write(text)


def boot(library: str) -> list[object]:
    """Start master and agents; return what C++ still points to and must therefore live on."""
    mesos = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL | os.RTLD_LAZY)
    names = [OptionString(0, 0, cxx_string(f"mesos-master-{access}")) for access in ("readwrite", "readonly")]
    delegate = OptionString(0, 0, cxx_string("master"))  # what a request without a process' name goes to
    getattr(mesos, INITIALIZE)(ctypes.byref(delegate), *(ctypes.byref(name) for name in names))
    framework = ctypes.create_string_buffer(4096)  # room for a FrameworkInfo; it is never registered
    getattr(mesos, FRAMEWORK_INFO)(framework)
    driver = ctypes.create_string_buffer(65536)
    local = cxx_string("local")
    getattr(mesos, DRIVER)(driver, None, framework, ctypes.byref(local))
    return [mesos, names, delegate, framework, driver, local]


def main() -> None:
    with open(sys.argv[1]) as stream:
        recipe = json.load(stream)
    end_with(int(sys.argv[2]))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
    for path, texts in recipe["fifos"].items():
        if os.path.lexists(path):
            os.unlink(path)
        os.mkfifo(path, 0o600)
        threading.Thread(target=serve, args=(path, texts), daemon=True).start()
    alive = boot(recipe["library"])
    while alive:
        signal.pause()


if __name__ == "__main__":
    main()
