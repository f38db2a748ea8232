"""From fork to end: what a forked child must not share with the zygote and with its siblings."""

from __future__ import annotations

import atexit
import gc
import logging
import multiprocessing.util
import os
import random
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import NoReturn

from . import processes

DEFAULT_SIGNALS = (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)


def run(body: Callable[[], None], log: str, parent: int) -> NoReturn:
    """Be a process of one's own, call `body`, and end with the exit status it asks for.

    SystemExit with a negative code, minus a signal's number, ends the process with that signal: it was caught to end
    in good order, and whoever waits shall still see why. `log` is a path for stdout and stderr, `parent` the pid that
    must still be our parent.
    """
    code = 1
    try:
        _reset(log, parent)
        body()
        code = 0
    except SystemExit as error:
        code = _status(error)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        try:
            atexit._run_exitfuncs()  # what was registered since the fork; the zygote's own were cleared
            for stream in (sys.__stdout__, sys.__stderr__):
                if stream is not None:
                    stream.flush()
        finally:
            if code < 0:
                signal.signal(-code, signal.SIG_DFL)
                os.kill(os.getpid(), -code)
            os._exit(code & 0xFF)  # never back into the zygote's frames


def _status(error: SystemExit) -> int:
    """As the interpreter does it: None is 0, a text is printed and is 1."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.__stderr__)
    return 1


def _reset(log: str, parent: int) -> None:
    os.setsid()  # a session of its own: whatever it starts can be found and ended with it
    processes.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)  # the zygote ended between the fork and the line above
    signal.set_wakeup_fd(-1)
    for signum in DEFAULT_SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    atexit._clear()
    atexit.register(logging.shutdown)
    atexit.register(multiprocessing.util._exit_function)  # type: ignore[attr-defined]  # ends the child's own daemon processes, as usual
    _redirect(log)
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # the legacy generator is copied by fork, unlike Python's own
    tempfile._name_sequence = None  # type: ignore[attr-defined]
    _prefer_for_oom()
    gc.enable()


def _redirect(log: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(out)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, closefd=False)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False)  # type: ignore[misc]


def _prefer_for_oom() -> None:
    """If the container's memory runs out, an engine should go, not the executor that can report it."""
    try:
        with open("/proc/self/oom_score_adj", "r+") as file:
            score = int(file.read())
            file.seek(0)
            file.write(str(min(1000, score + 300)))
    except OSError as error:
        print(f"oom_score_adj stays as it is: {error}", file=sys.stderr)
