"""The process that owns one cluster.

__main__   as a launcher starts it; launched: the rest of that, once a private Mesos boots; output: what it writes
app        builds the parts, connects them, and ends them
owner      the one owner of the state: events -> core -> save -> send, in turns
start      with what it begins: a new cluster, or what a dead daemon has left
clock      its own time, which never jumps; ticks: time that passes, for the core and for people who wait
published  the files by which others find the cluster
orphan     the end of a cluster that all have forgotten
access     the way to the master; private: the Mesos of its own, when that is "local"
store      the state file; codec: dataclasses <-> JSON
web        the REST API: who may ask, and how it looks; page: the status for browsers
service    what the REST API asks for, as events and views
view       the state as the REST API shows it; words: that for people
happenings what has just happened, in words and fields; vocabulary: those words, which are a promise
herald     tells of it: to the log, the journal (events, kept in a file) and the metrics; waiting: what waits, and why
"""
