"""A real Mesos for everybody: the official library of Mesos, run on this machine without installing anything.

For people `python -m ipymesos local`, for tests and for the scheduler `LocalMesos`. This package stands alone.
"""

from .cluster import LocalMesos
from .election import Election
from .errors import FlagError, LocalMesosError
from .fleet import LocalFleet
from .workdir import Warm

__all__ = ["Election", "FlagError", "LocalFleet", "LocalMesos", "LocalMesosError", "Warm"]
