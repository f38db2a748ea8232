"""Mesos' helper `mesos-containerizer`, which is not in the archive: make a container, start one executor in it.

The agent runs `mesos-containerizer launch` for each container of the Mesos containerizer, and for one with an image
`mesos-containerizer network-cni-setup` besides. This does what MesosContainerizerLaunch::execute (launch.cpp) and
NetworkCniIsolatorSetup::execute (isolators/network/cni/cni.cpp), both in src/slave/containerizer/mesos, do in Mesos
1.4 to 1.11; whatever it cannot do it refuses. Flags are arguments, or MESOS_CONTAINERIZER_* in the environment.

  launch    the executor's process, and how it ended      mounts    file systems, the new root, network files

This package is copied as a program of its own and imports nothing of ipymesos (nor much of Python: it starts often).
"""


class Refused(Exception):
    """This container cannot be had; the message goes to whoever reads the executor's stderr."""
