"""What can go wrong for good, and the exit code that says so.

    IPyMesosError 1            anything below; `except IPyMesosError` catches them all
    ├── ConfigError 2          an option, an argument or a file of the user makes no sense
    │   └── AlreadyRunning 10       a live daemon serves this profile and cluster id (ipcluster's number for it, too)
    ├── StoreError 3           the state can't be kept or read back
    ├── MesosError 4           the master, or the way to it
    │   ├── MasterUnreachable 5     nothing answers there within connect_timeout, or the name can't be resolved
    │   ├── NotAuthorized 6         401 or 403: principal or secret are wrong, or missing
    │   ├── SubscriptionRefused 7   400 or an ERROR event: a role that isn't allowed, a malformed framework
    │   └── FrameworkRemoved 8      the master has forgotten this framework id: it was torn down or failed over too late
    ├── StartFailed 9          the controller or the engines can't be launched, and another try can't help
    ├── NotRunning 11          there is no daemon for this profile and cluster id
    └── Unreadable 12          a log that its agent doesn't give us
        └── Gone                    as there is no such file, or no longer

"Doesn't fit", "isn't connected" and "the same update again" are values, not errors. The messages are sentences for
the person in front of the terminal. An exit code means the same in the command line, in the daemon file and to the
launchers, who turn it back into the error.
"""

from __future__ import annotations


class IPyMesosError(Exception):
    """The root of the tree. `exit_code` is what a process that ends by this error returns."""

    exit_code = 1


class ConfigError(IPyMesosError):
    exit_code = 2


class AlreadyRunning(ConfigError):
    exit_code = 10


class StoreError(IPyMesosError):
    exit_code = 3


class MesosError(IPyMesosError):
    exit_code = 4


class MasterUnreachable(MesosError):
    exit_code = 5


class NotAuthorized(MesosError):
    exit_code = 6


class SubscriptionRefused(MesosError):
    exit_code = 7


class FrameworkRemoved(MesosError):
    exit_code = 8


class StartFailed(IPyMesosError):
    exit_code = 9


class NotRunning(IPyMesosError):
    exit_code = 11


class Unreadable(IPyMesosError):
    exit_code = 12


class Gone(Unreadable):
    pass


def from_exit_code(code: int, message: str) -> IPyMesosError:
    """The error that `code` stands for, as another process told it."""
    kinds: list[type[IPyMesosError]] = [IPyMesosError]
    for kind in kinds:
        if kind.exit_code == code:
            return kind(message)
        kinds.extend(kind.__subclasses__())
    return IPyMesosError(message)


def one_line(text: str) -> str:
    """Messages of Docker and of Python have several lines; in a list of lines they are one.

    Without what a terminal would obey: what a container has written last is part of some.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
