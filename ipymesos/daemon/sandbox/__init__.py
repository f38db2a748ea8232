"""What tasks write on their agents, read over Mesos' files API (Mesos: docs/sandbox.md, docs/endpoints/files).

files      one piece of one file of an agent: bounded in time and size, blocking
sources    whose log is where, for running tasks and those that have ended; pure
logs       what the REST API answers
coroner    the last words of a container that ended before its executor spoke
"""

from .coroner import Coroner
from .files import Files
from .logs import Logs

__all__ = ["Coroner", "Files", "Logs"]
