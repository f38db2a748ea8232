"""What a broken master, agent or ZooKeeper may send: events, streams, agents' lists, the entries of masters."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ipymesos import masters, mesos
from ipymesos.core.messages import EnginesWanted, Launch, Offered, Ticked, Updated
from ipymesos.core.session import Everything
from ipymesos.driver.detector import _leader
from ipymesos.driver.refusals import Redirected, judge, refusal
from ipymesos.driver.stream import EventStream, RecordIO, StreamError, Waker
from ipymesos.errors import MesosError
from tests.property.fuzz import ANY, damaged, fuzz, wrong
from tests.stories import ENGINE, offer, start, step
from tests.unit.test_mesos_events import OFFER, offers, said, update

WINDOW = {"start": {"nanoseconds": 1700000000500000000}, "duration": {"nanoseconds": 60000000000}}
INVERSE = {"id": {"value": "i1"}, "agent_id": {"value": "a1"}, "unavailability": WINDOW}
MASTER = {"id": "m", "address": {"hostname": "master-1", "ip": "10.0.0.9", "port": 5051}, "version": "1.11.0"}
FAILURE = {"agent_id": {"value": "a1"}, "executor_id": {"value": "x-1"}, "status": 9}
EVENTS: list[dict[str, Any]] = [
    {"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "fw"}, "heartbeat_interval_seconds": 15.0,
                                          "master_info": MASTER}},
    offers(OFFER), offers(OFFER, {**OFFER, "id": {"value": "o2"}}),
    {"type": "RESCIND", "rescind": {"offer_id": {"value": "o1"}}},
    {"type": "INVERSE_OFFERS", "inverse_offers": {"inverse_offers": [INVERSE]}},
    {"type": "RESCIND_INVERSE_OFFER", "rescind_inverse_offer": {"inverse_offer_id": {"value": "i1"}}},
    *(update(task_id={"value": task}, state=f"TASK_{state}", uuid="dXVpZA==", reason="REASON_COMMAND_EXECUTOR_FAILED",
             message="why", data=data)
      for task in ("controller-1", "engine-e-2") for state in ("RUNNING", "FAILED", "LOST")
      for data in (said(engine_id=3, pid=4, controller="controller-1"), said(busy_ports=[31000], final=True), "%")),
    {"type": "FAILURE", "failure": FAILURE},
    {"type": "MESSAGE", "message": {"agent_id": {"value": "a1"}, "executor_id": {"value": "x-1"},
                                    "data": said(load={"engine-e-2": 1.5})}},
    {"type": "HEARTBEAT"}, {"type": "ERROR", "error": {"message": "Framework has been removed"}},
]  # fmt: skip
SLAVES = {"slaves": [{"id": "a1", "hostname": "h", "active": True, "resources": {"cpus": 4.0, "mem": 1000.0},
                      "unreserved_resources": {"cpus": 4.0, "mem": 1000.0, "ports": "[31000-31099, 31200-31299]"},
                      "reserved_resources": {"*": {"cpus": 1.0}}, "attributes": {"rack": "r1", "n": 3.5}}]}  # fmt: skip


def _running() -> Everything:
    """A cluster whose controller and two engines run."""
    state, actions = step(start(2), Offered((offer(),)), now=1.0)
    (launch,) = [action for action in actions if isinstance(action, Launch)]
    for task in launch.tasks:
        state, _ = step(state, Updated(task.id, "a1", "TASK_RUNNING", uuid="u", engine_id=1), now=2.0)
    return state


RUNNING = [start(2), _running()]


@fuzz(20)
@given(st.lists(wrong(EVENTS), min_size=1, max_size=3), st.integers(0, 1))
def test_events(messages: list[Any], which: int) -> None:
    """Nothing that comes off the wire breaks the decoder, nor, once decoded, the core."""
    state = RUNNING[which]
    for message in messages:
        event = mesos.event(message)
        if event is not None:
            hash(repr(event))
            state, actions = step(state, event, now=10.0)
            for action in actions:
                json.dumps(_call(action, state))
    step(state, EnginesWanted("e", 5, ENGINE), Ticked(), now=20.0)


def _call(action: Any, state: Everything) -> Any:
    if type(action).__name__ == "ListAgents":
        return None
    return mesos.call(action, state.cluster, lambda task: b"payload", lambda task: {})


@fuzz(3)
@given(wrong([SLAVES]) | ANY)
def test_lists_of_agents(listing: Any) -> None:
    event = mesos.agents(listing, ("*", "ipy"))
    if event is not None:
        step(RUNNING[1], event, Ticked(), now=10.0)


@fuzz(2)
@given(wrong([e for e in EVENTS if e["type"] == "ERROR"]) | st.builds(lambda x: {"error": x}, ANY))
def test_refusals(message: Any) -> None:
    if isinstance(message, dict):
        assert isinstance(refusal(message, "m:5050"), (StreamError, MesosError))


@fuzz(4)
@given(wrong([MASTER]).map(json.dumps).map(str.encode) | st.binary(max_size=200))
@example(b'{"address": {"ip": "h", "port": 1e999}}')
@example(b'{"address": {"ip": "h", "port": 65536}}')
@example(b'{"address": {"ip": "a\\u0000b", "port": 5050}}')
@example(b"[" * 100_000)
def test_entries_of_masters(data: bytes) -> None:
    leader = _leader(data)
    assert leader is None or masters.parse(str(leader)) == leader


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Records as a master sends them, damaged, and where the network cuts them."""
    records = [json.dumps(draw(wrong(EVENTS, 1))).encode() for _ in range(draw(st.integers(0, 3)))]
    data = b"".join(str(len(r)).encode() + b"\n" + r for r in records)
    for _ in range(draw(st.integers(0, 2))):
        data = damaged(draw, data)
    data = draw(st.sampled_from([data, data, b"9" * 30 + data, b"-1\n" + data, b"1099511627776\n", "²\n".encode()]))
    return data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))


@fuzz(6)
@given(streams())
def test_records(stream: tuple[bytes, list[int]]) -> None:
    """However it is cut, the same records come out of it, or the same refusal."""
    data, cuts = stream
    pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    outcomes = []
    for way in ([data], pieces, [bytes([byte]) for byte in data]):
        records, got, failed = RecordIO(), [], False
        try:
            for piece in way:
                for record in records.feed(piece):
                    got.append(record)
        except StreamError:
            failed = True
        outcomes.append((got, failed))
    assert all(outcome == outcomes[0] for outcome in outcomes)


ANSWER = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: s\r\n\r\n"
          b"14\r\n17\n{\"type\":\"UNKNOWN\"}\r\n0\r\n\r\n")  # fmt: skip
REDIRECT = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: //master-2:5050/api/v1/scheduler\r\nContent-Length: 0\r\n\r\n"
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from([ANSWER, REDIRECT, REFUSAL, b""]))
    for _ in range(draw(st.integers(0, 3))):
        data = damaged(draw, data)
    return data


class Master:
    """Takes one connection after the other, and answers each with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = masters.Address("127.0.0.1", self.socket.getsockname()[1])
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        connection, _ = self.socket.accept()
        with connection:
            connection.sendall(self.answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

    def __enter__(self) -> Master:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join()
        self.socket.close()


@fuzz(4)
@given(answers())
def test_answers_to_subscribe(answer: bytes) -> None:
    stream = EventStream(Waker())
    with Master(answer) as master:
        try:
            stream.connect(master.address, time.monotonic() + 20)
            head = stream.open(b"POST /api/v1/scheduler HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", time.monotonic() + 20)
            judge(head, "m:5050")
            for _ in stream.records(lambda: time.monotonic() + 20):
                pass
        except Redirected as redirected:
            assert masters.parse(str(redirected.leader)) == redirected.leader
        except (StreamError, MesosError) as error:
            assert str(error)
        finally:
            stream.close()


def test_the_worlds_here_are_what_they_should_be() -> None:
    assert len(RUNNING[1].cluster.tasks) == 3
    assert all(mesos.event(message) for message in EVENTS if message["type"] not in ("HEARTBEAT", "ERROR"))
