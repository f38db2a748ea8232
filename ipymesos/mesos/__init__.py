"""The Mesos dialect: the v1 scheduler API's JSON <-> our dataclasses. Pure: no I/O, no clock, no state.

    framework   what we say about ourselves at registration
    preferences which offers are worth making
    resources   one Mesos resource <-> one Piece
    events      what the master tells -> core events
    calls       core actions -> what we ask of the master
    launch      Task -> TaskInfo, ExecutorInfo, CommandInfo, ContainerInfo

No secret may be in anything made here but TaskInfo.data: the master and the agents print the rest to everybody.
"""

from .calls import call, signal_call
from .events import agents, event
from .framework import Framework, framework_info, subscribe, takes_updates, update_framework
from .launch import executor_info, task_info
from .preferences import Preferences, preferences
from .resources import pieces, resources

__all__ = [
    "Framework",
    "Preferences",
    "agents",
    "call",
    "event",
    "executor_info",
    "framework_info",
    "pieces",
    "preferences",
    "resources",
    "signal_call",
    "subscribe",
    "takes_updates",
    "task_info",
    "update_framework",
]
