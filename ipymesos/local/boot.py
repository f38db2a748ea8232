"""Be a Mesos master and agents, in one process: the program `python -ISB boot.py RECIPE KEEPER`.

Mesos' own library has no entry "start a cluster", but its scheduler driver starts one when the master is called
`local` (src/sched/sched.cpp, src/local/local.cpp): constructing the driver is enough, it is never started. The
flags come from the environment, MESOS_* and LIBPROCESS_*. KEEPER is the process (`keeper.py`) that it ends with,
RECIPE a JSON file: {"library": PATH, "fifos": {"PATH": ["text for the first agent", ...]}, "leader": "", "masters": 0}.

Agents of one process load the same environment, so what differs between them is a flag of the form file://PATH
where PATH is a FIFO: each agent reads it once while it loads its flags, one agent after the other.

With a `leader`, "host:port" or "zk://host:port,.../path", the agents belong to that master, and the one in this process
is an idle standby; with `masters` > 0 it is one of so many that contend for the leadership at that ZooKeeper, with
the registry that they share. Mesos is made for that, only its entry `local` isn't: that makes a master which knows
itself alone. So three objects of it are replaced by those of a real one while they are made, see `become`.

This file imports nothing of ipymesos: it runs by itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import signal
import sys
import threading
from typing import Any

DESCRIPTORS = 65536  # each agent has four, each executor more; programs that try to close all should not take long
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # prctl(2)
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4  # mprotect(2)
SOME, NONE = 0, 1  # the states of stout's Option
SESSION = 4  # s without a word from a master after which ZooKeeper takes it for dead, and lets another lead

# The C++ names, as g++ mangles them, that are the same in Mesos 1.4 to 1.11.
STRING = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
INITIALIZE = f"_ZN7process10initializeERK6OptionI{STRING}ES9_S9_"
FRAMEWORK_INFO = "_ZN5mesos13FrameworkInfoC1Ev"
DRIVER = f"_ZN5mesos20MesosSchedulerDriverC1EPNS_9SchedulerERKNS_13FrameworkInfoERK{STRING}"
OPTIONS = f"ERK6OptionI{STRING}ESC_RKS3_I8DurationE"
DETECTOR = f"_ZN5mesos6master8detector14MasterDetector6create{OPTIONS}"
LOCAL_DETECTOR = "_ZN5mesos6master8detector24StandaloneMasterDetectorC1Ev"
APPOINT = "_ZN5mesos6master8detector24StandaloneMasterDetector7appointERK6OptionINS_10MasterInfoEE"
CONTENDER = f"_ZN5mesos6master9contender15MasterContender6create{OPTIONS}"
INITIALIZE_CONTENDER = "_ZN5mesos6master9contender24ZooKeeperMasterContender10initializeERKNS_10MasterInfoE"
INITIALIZE_LOCAL_CONTENDER = "_ZN5mesos6master9contender25StandaloneMasterContender10initializeERKNS_10MasterInfoE"
LOG = f"_ZN5mesos3log3LogC1EiRK{STRING}S9_RK8DurationS9_RK6OptionIN9zookeeper14AuthenticationEEbRKSD_IS7_E"
LOCAL_LOG = f"_ZN5mesos3log3LogC1EiRK{STRING}RKSt3setIN7process4UPIDESt4lessISC_ESaISC_EEbRK6OptionIS7_E"


class String(ctypes.Structure):
    """std::string of libstdc++: a pointer, a length, and the capacity in the first half of the small buffer."""

    _fields_ = [
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
        ("unused", ctypes.c_size_t),
    ]


class OptionString(ctypes.Structure):
    """Option<std::string> of stout."""

    _fields_ = [("state", ctypes.c_int), ("padding", ctypes.c_int), ("value", String)]


class OptionNumber(ctypes.Structure):
    """Option<T> for a T of eight bytes: a Duration, which is a number of nanoseconds, or a pointer."""

    _fields_ = [("state", ctypes.c_int), ("padding", ctypes.c_int), ("value", ctypes.c_int64)]


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


def address(mesos: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(mesos, name), ctypes.c_void_p).value or 0


def overwrite(place: int, code: bytes) -> None:
    """Put machine code in the place of a function's beginning. Nobody runs that one before Mesos is started."""
    libc = ctypes.CDLL(None, use_errno=True)
    size = os.sysconf("SC_PAGE_SIZE")
    first = place // size * size
    length = place + len(code) - first
    for access in (PROT_READ | PROT_WRITE | PROT_EXEC, PROT_READ | PROT_EXEC):  # neighbours may run meanwhile
        if libc.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(length), access) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
        if access & PROT_WRITE:
            ctypes.memmove(place, code, len(code))


def become(mesos: ctypes.CDLL, name: str, source: int, words: int, then: str = "") -> None:
    """Have the method `name` do this instead: copy `words` of eight bytes from `source` over its object.

    These objects are nothing but a table of virtual methods, or none, and a pointer to what does the work: so the
    object is the other one from then on. `then` is a method of the other one to go on with, with the same arguments.
    """
    code = b"\x48\xb8" + source.to_bytes(8, "little")  # mov rax, source
    for place in range(0, 8 * words, 8):
        code += bytes((0x48, 0x8B, 0x48, place))  # mov rcx, [rax + place]
        code += bytes((0x48, 0x89, 0x4F, place))  # mov [rdi + place], rcx: rdi is the object, `this`
    if then:
        code += b"\x48\xb8" + address(mesos, then).to_bytes(8, "little") + b"\xff\xe0"  # mov rax, then; jmp rax
    overwrite(address(mesos, name), code if then else code + b"\xc3")  # ret


def follow(mesos: ctypes.CDLL, leader: str, masters: int) -> list[object]:
    """Have the agents follow the leader, and the master be a standby, or one of so many that contend at ZooKeeper."""
    where = OptionString(SOME, 0, cxx_string(leader))
    module, session = OptionString(NONE), OptionNumber(SOME, 0, SESSION * 10**9)

    def create(name: str) -> int:
        made = (OptionNumber * 8)()  # a Try: the Option of what is made, then that of an error, a text
        getattr(mesos, name)(made, *(ctypes.byref(option) for option in (where, module, session)))
        if made[0].state != SOME:
            sys.exit(f"Mesos cannot find its leader by {leader!r}")
        return int(made[0].value)

    become(mesos, LOCAL_DETECTOR, create(DETECTOR), 2)
    overwrite(address(mesos, APPOINT), b"\xc3")  # ret: nobody is made the leader without being asked
    if not masters:
        return [where, module, session]
    become(mesos, INITIALIZE_LOCAL_CONTENDER, create(CONTENDER), 2, then=INITIALIZE_CONTENDER)
    folder = os.path.join(os.environ["MESOS_WORK_DIR"], "master")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    servers, path = re.match(r"zk://([^/]+)(/.*)", leader).groups()  # type: ignore[union-attr]
    texts = [cxx_string(text) for text in (os.path.join(folder, "replicated_log"), servers, f"{path}/log_replicas")]
    timeout, nobody = ctypes.c_int64(SESSION * 10**9), ctypes.create_string_buffer(128)
    ctypes.memset(nobody, NONE, 1)  # an Option of a login at ZooKeeper
    prefix = OptionString(SOME, 0, cxx_string("registrar/"))
    log = ctypes.c_void_p()
    getattr(mesos, LOG)(
        ctypes.byref(log),
        masters // 2 + 1,
        ctypes.byref(texts[0]),
        ctypes.byref(texts[1]),
        ctypes.byref(timeout),
        ctypes.byref(texts[2]),
        nobody,
        ctypes.c_bool(True),
        ctypes.byref(prefix),
    )
    become(mesos, LOCAL_LOG, ctypes.addressof(log), 1)
    return [where, module, session, texts, timeout, nobody, prefix, log]


def boot(recipe: dict[str, Any]) -> list[object]:
    """Start master and agents; return what C++ still points to and must therefore live on."""
    mesos = ctypes.CDLL(recipe["library"], mode=ctypes.RTLD_GLOBAL | os.RTLD_LAZY)
    names = [OptionString(SOME, 0, cxx_string(f"mesos-master-{access}")) for access in ("readwrite", "readonly")]
    delegate = OptionString(SOME, 0, cxx_string("master"))  # what a request without a process' name goes to
    getattr(mesos, INITIALIZE)(ctypes.byref(delegate), *(ctypes.byref(name) for name in names))
    followed = follow(mesos, recipe["leader"], recipe["masters"]) if recipe["leader"] else []
    framework = ctypes.create_string_buffer(4096)  # room for a FrameworkInfo; it is never registered
    getattr(mesos, FRAMEWORK_INFO)(framework)
    driver = ctypes.create_string_buffer(65536)
    local = cxx_string("local")
    getattr(mesos, DRIVER)(driver, None, framework, ctypes.byref(local))
    return [mesos, names, delegate, followed, framework, driver, local]


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
    alive = boot(recipe)
    while alive:
        signal.pause()


if __name__ == "__main__":
    main()
