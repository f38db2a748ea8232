"""The connection to Mesos: a pymesos driver that posts core events and sends calls, and never does more than that.

    driver    Driver: subscribes, keeps subscribed, says why when it cannot
    stream    one event stream: sockets, HTTP, RecordIO
    calls     the one thread that makes calls
    quiet     importing pymesos without its side effects

Three threads, none of which owns state: the stream's, the calls', and with ZooKeeper the detector's.
"""

from .driver import Driver

__all__ = ["Driver"]
