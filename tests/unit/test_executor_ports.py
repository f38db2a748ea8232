"""Who listens where, with real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from ipymesos_executor import ports, processes

LISTEN = """
import socket, sys
one = socket.create_server(("127.0.0.1", 0))
print(one.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_busy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held, socket.socket() as bound:
        taken = held.getsockname()[1]
        bound.bind(("127.0.0.1", 0))
        idle = bound.getsockname()[1]
        bound.close()
        assert ports.busy([("127.0.0.1", idle), ("127.0.0.1", taken)]) == [taken]
        assert ports.busy([("0.0.0.0", taken)]) == [taken]
    assert ports.busy([("127.0.0.1", taken)]) == []


def test_a_port_with_connections_in_time_wait_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
    assert ports.busy([("127.0.0.1", port)]) == []


def test_an_address_of_another_machine() -> None:
    with pytest.raises(ports.NotOurAddress, match="192.0.2.1 is not an address of this machine"):
        ports.busy([("192.0.2.1", 31000)])


def test_listening_tells_processes_apart() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as ours,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        program = [sys.executable, "-c", LISTEN]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdin is not None and other.stdout is not None
            theirs = int(other.stdout.readline())
            mine = {ours.getsockname()[1], six.getsockname()[1]}
            assert mine <= ports.listening([os.getpid()])
            assert theirs not in ports.listening([os.getpid()])
            assert ports.listening([other.pid]) == {theirs}
            assert ports.listening([other.pid, os.getpid()]) >= mine | {theirs}
            other.stdin.close()
    assert ports.listening([other.pid]) == set()  # it has ended


def test_a_bound_socket_does_not_listen() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert bound.getsockname()[1] not in ports.listening([os.getpid()])


def test_descendants_and_sessions() -> None:
    program = ["sh", "-c", "sleep 60 & echo $!; wait"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, start_new_session=True, text=True) as shell:
        assert shell.stdout is not None
        sleep = int(shell.stdout.readline())
        assert sorted(processes.session_members(shell.pid)) == sorted([shell.pid, sleep])
        assert {shell.pid, sleep} <= set(processes.descendants(os.getpid()))
        assert processes.descendants(shell.pid) == [sleep]
        processes.send([shell.pid, sleep], 9)
    processes.send([shell.pid], 9)  # gone by now, and that is no error
    assert shell.returncode == -9
