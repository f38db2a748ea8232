"""The launchers `mesos` of ipyparallel: `ipcluster start --controller=mesos --engines=mesos`.

They launch nothing on Mesos. MesosControllerLauncher starts the daemon of the cluster and is, as
MesosEngineSetLauncher is, a client of its REST API: that is why a cluster can be left running, be listed, and be
stopped from another process. What is written into ipyparallel's cluster file is readable by everybody, so it only says
where to look: profile directory, cluster id, engine set, and the daemon's pid.
"""

from .base import MesosLauncher
from .controller import MesosControllerLauncher
from .engines import MesosEngineSetLauncher

__all__ = ["MesosControllerLauncher", "MesosEngineSetLauncher", "MesosLauncher"]
