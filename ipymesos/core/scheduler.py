"""The scheduler's whole mind, in three pure functions.

    observe(state, event, now)    what has happened is written down
    plan(state, now)              what is wanted is compared with what is, and answered with actions
    record(state, actions, now)   what is about to be asked for is written down; then it is saved, then sent

`plan` never sees an event, so scaling up, a dead engine, a lost agent and a restarted scheduler are one path:
missing = wanted - staying. There is no queue and no list of pending launches.

What always holds, and is checked by tests/property against a small Mesos:

* an offer is answered in the round in which it is seen, and never twice;
* a task's id is never used again, and a task is saved before its launch is sent;
* no launch spends more than was offered, nor a port twice;
* engines are launched only for a controller that has been launched, and have its connection from the start;
* what nobody wants is killed, and killed again until Mesos says that it has ended;
* an update is acknowledged after what it says has been saved;
* offers are suppressed when nothing is missing, and revived when something is.
"""

from .observe import observe, observe_all
from .plan import plan
from .record import record

__all__ = ["observe", "observe_all", "plan", "record"]
