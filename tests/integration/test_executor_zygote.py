"""Controllers and engines forked by a zygote, used with ipyparallel's own client; no Mesos."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import ipyparallel as ipp
import psutil
import pytest
import zmq
from ipymesos_executor import ports, processes
from ipyparallel.util import connect
from jupyter_client.session import Session

from tests.helpers import eventually

from .executor_kit import N, Pack, Zygote, keys, payloads


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pack]:
    """For tests that end nothing but what they have started."""
    made = Pack(tmp_path_factory.mktemp("pack"))
    yield made
    made.close()


@pytest.fixture
def victim(pack: Pack) -> int:
    """The id of an engine that may be ended."""
    return pack.new_engine()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Pack]:
    """For tests that end everything."""
    made = Pack(tmp_path)
    yield made
    made.close()


# --- what an engine must be able to do -----------------------------------------------------------------------


def test_computes(pack: Pack) -> None:
    view = pack.client[:]
    assert sorted(view.apply_sync(os.getpid)) == sorted(pack.pid(f"e{i}") for i in range(N))
    view.push({"a": 3}, block=True)
    assert view.pull("a", block=True) == [3] * N
    view.scatter("part", list(range(1000)), block=True)
    assert view.gather("part", block=True) == list(range(1000))
    assert view.map_sync(ipp.interactive(lambda x: x * x), range(10)) == [x * x for x in range(10)]
    assert list(pack.client.load_balanced_view().map_sync(ipp.interactive(lambda x: x + 1), range(20))) == list(
        range(1, 21)
    )
    assert pack.client.broadcast_view().apply_sync(ipp.interactive(lambda: 7)) == [7] * N


def test_runs_cells_with_output_and_magics(pack: Pack) -> None:
    view = pack.client[:]
    view.execute("import os; kept = os.getpid()", block=True)
    result = view.execute("print('from', kept)\n%time 1 + 1", block=True)
    eventually(lambda: all(f"from {pid}" in "".join(result.stdout) for pid in view["kept"]))
    assert view.execute("!echo shell", block=True).successful()


def test_an_engine_with_arguments_of_its_own_is_made_by_them(mortal: Pack) -> None:
    """The others are mostly made before the fork, when nobody knows of any."""
    mine = mortal.client[mortal.new_engine("--IPEngine.startup_command=given = 5", "--log-level=30")]
    assert mine["given"] == 5
    assert mine.execute("1 + 1; print('said')", block=True).stdout == "said\n"
    assert mine.apply_sync(ipp.interactive(lambda: get_ipython().kernel.parent.log_level)) == 30  # type: ignore[name-defined]  # noqa: F821
    with pytest.raises(ipp.error.RemoteError, match="NameError"):
        mortal.client[mortal.new_engine()]["given"]


def test_all_engines_have_their_application(tmp_path: Path) -> None:
    """Made before the fork or after it, which nobody should be able to tell."""

    @ipp.interactive
    def facts() -> dict[str, object]:
        from ipykernel.kernelapp import IPKernelApp
        from IPython import get_ipython

        shell, app = get_ipython(), IPKernelApp.instance()  # type: ignore[no-untyped-call]
        return {
            "parts": app.kernel is shell.kernel and app.shell is shell and app.parent is shell.kernel.parent,
            "key": app.session.key == shell.kernel.session.key != b"",
            "extensions": sorted(shell.extension_manager.loaded),
            "hidden": sorted(shell.user_ns_hidden),
            "backend": __import__("os").environ["MPLBACKEND"],
        }

    with contextlib.closing(Pack(tmp_path, curve=False)) as pack:  # so with a key
        made_before, made_after = pack.client[0, pack.new_engine("--log-level=20")].apply_sync(facts)
    assert made_before == made_after
    assert made_before["parts"] and made_before["key"] and made_before["extensions"]


def test_what_the_machine_has_for_all_engines(tmp_path: Path) -> None:
    """IPython runs files from its directories for everybody, and ipyparallel reads its configuration there."""
    shared = tmp_path / "shared"
    (shared / "startup").mkdir(parents=True)
    (shared / "startup" / "00-first.py").write_text("import os; started_in = os.getpid()\n")
    (tmp_path / "machine.py").write_text(
        f"from IPython.core.application import ENV_CONFIG_DIRS; ENV_CONFIG_DIRS.append({str(shared)!r})\n"
    )
    controller, engine = payloads()
    with Zygote("controller", tmp_path) as controllers:
        controllers.start("ctl", controller)
        with ipp.Client(controller["client_info"], timeout=30) as client:
            for name, wanted in (("startup", {"started_in"}), ("config", {"started_in", "configured"})):
                with Zygote("engines", tmp_path, "machine", extra_path=tmp_path) as engines:
                    engines.start(name, engine)
                    number = engines.expect("registered", name)["engine_id"]
                    eventually(lambda number=number: number in client.ids)
                    mine = client[number]
                    there = mine.apply_sync(ipp.interactive(lambda: {"started_in", "configured"} & set(globals())))
                    assert there == wanted and mine["started_in"] == engines.expect("started", name)["pid"]
                (shared / "ipengine_config.py").write_text("c.IPEngine.startup_command = 'configured = True'\n")


def test_the_first_line_of_a_new_engine_is_heard(mortal: Pack) -> None:
    for i in range(4):
        result = mortal.client[mortal.new_engine()].execute(f"print('first', {i})", silent=False)
        eventually(lambda result=result, i=i: result.stdout == f"first {i}\n", 10)


def test_exceptions_come_back(pack: Pack) -> None:
    with pytest.raises(ipp.error.RemoteError, match="ZeroDivisionError"):
        pack.client[0].apply_sync(ipp.interactive(lambda: 1 / 0))


def test_engines_are_not_copies_of_each_other(pack: Pack) -> None:
    @ipp.interactive
    def identity() -> tuple:  # type: ignore[type-arg]
        import random
        import tempfile
        import uuid

        import numpy

        name = tempfile.mktemp()
        return random.random(), float(numpy.random.random()), uuid.uuid4().hex, uuid.uuid1().hex, name, id(object)

    told = pack.client[:].apply_sync(identity)
    for column in list(zip(*told, strict=True))[:5]:
        assert len(set(column)) == N


def test_children_of_engines_work(pack: Pack) -> None:
    @ipp.interactive
    def work() -> tuple:  # type: ignore[type-arg]
        import multiprocessing
        import subprocess
        import threading

        with multiprocessing.get_context("fork").Pool(2) as pool:
            squares = pool.map(abs, [-1, -2])
        told: list[int] = []
        thread = threading.Thread(target=told.append, args=(1,))
        thread.start()
        thread.join()
        return squares, told, subprocess.run(["echo", "x"], capture_output=True, check=True).stdout

    assert pack.client[:2].apply_sync(work) == [([1, 2], [1], b"x\n")] * 2


def test_linear_algebra_after_fork(pack: Pack) -> None:
    @ipp.interactive
    def solve() -> float:
        import numpy

        return float(numpy.linalg.det(numpy.eye(200) @ numpy.eye(200)))

    assert pack.client[:].apply_sync(solve) == [1.0] * N


def test_one_memmap_is_one_copy(pack: Pack, tmp_path: Path) -> None:
    size = 16 << 20
    name = f"/dev/shm/ipymesos-test-{os.getpid()}"

    @ipp.interactive
    def open_map(name: str, size: int) -> int:
        import numpy

        global shared
        shared = numpy.memmap(name, dtype="u1", mode="r+", shape=(size,))
        return int(shared.sum())

    @ipp.interactive
    def write(index: int) -> None:
        shared[index] = index + 1  # type: ignore[name-defined]  # noqa: F821

    @ipp.interactive
    def read() -> list:  # type: ignore[type-arg]
        return shared[:4].tolist()  # type: ignore[name-defined]  # noqa: F821

    with open(name, "wb") as file:
        file.truncate(size)
    try:
        view = pack.client[:]
        assert view.apply_sync(open_map, name, size) == [0] * N
        for index, engine in enumerate(pack.client.ids):
            pack.client[engine].apply_sync(write, index)
        assert view.apply_sync(read) == [[1, 2, 3, 4]] * N
        for i in range(N):
            maps = psutil.Process(pack.pid(f"e{i}")).memory_maps(grouped=True)
            mine = next(m for m in maps if m.path == name)
            assert mine.private_dirty == 0
            assert mine.rss >= size and mine.pss <= mine.rss / N * 1.1
    finally:
        os.unlink(name)
        pack.client[:].execute("globals().pop('shared', None)", block=True)


def test_memory_is_shared_with_the_zygote(pack: Pack) -> None:
    def pss(pid: int) -> int:
        return psutil.Process(pid).memory_full_info().pss >> 20

    assert max(pss(pack.pid(f"e{i}")) for i in range(N)) < 60  # MB; an engine that imports for itself has > 70


# --- what must not be there ------------------------------------------------------------------------------------


def test_listeners(pack: Pack) -> None:
    controller = processes.session_members(pack.pid("ctl"))
    assert len(controller) == 9
    eventually(lambda: ports.listening(controller) == set(pack.controller["ports"]))
    engines = [pid for i in range(N) for pid in processes.session_members(pack.pid(f"e{i}"))]
    assert ports.listening(engines) == set()


def test_monitor_listens_on_loopback_only(pack: Pack) -> None:
    assert _address(pack.controller["ports"][17]) == "127.0.0.1"


def _address(port: int) -> str:
    row = next(c for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == psutil.CONN_LISTEN)
    return str(row.laddr.ip)


def test_keys_are_in_memory_only(pack: Pack) -> None:
    folder = pack.engines.folder
    pids = [pack.engines.process.pid, pack.controllers.process.pid]
    pids += [child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)]
    seen = {
        f"/proc/{pid}/{part}": Path(f"/proc/{pid}/{part}").read_bytes()
        for pid in pids
        for part in ("environ", "cmdline")
    }
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > N
    seen |= {str(path): path.read_bytes() for path in files}
    for key in keys(pack.controller):
        assert [name for name, content in seen.items() if key in content] == []


@pytest.mark.parametrize("curve", [True, False])
def test_keys_are_not_logged_at_debug(tmp_path: Path, curve: bool) -> None:
    controller, engine = payloads(curve)
    for payload in (controller, engine):
        payload["args"] = ["--debug"]
    with Zygote("controller", tmp_path) as controllers, Zygote("engines", tmp_path) as engines:
        controllers.start("ctl", controller)
        engines.start("e0", engine)
        engines.expect("registered", "e0")
        with ipp.Client(controller["client_info"]) as client:
            eventually(lambda: len(client) == 1)
            assert client[0].apply_sync(ipp.interactive(lambda: 1)) == 1
    text = b"".join(path.read_bytes() for path in tmp_path.glob("*.*"))
    assert b"Config changed" in text  # they were tempted
    assert [key for key in keys(controller) if key in text] == []
    assert b"***" in text


def test_logs_are_private(pack: Pack) -> None:
    assert {path.stat().st_mode & 0o777 for path in pack.engines.folder.glob("*.log")} == {0o600}


def test_home_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    controller, engine = payloads()
    environ = {"HOME": str(home), "IPYTHONDIR": "", "IPP_SESSION_KEY": "wrong", "IPP_CURVE_SECRETKEY": "x" * 40}
    with Zygote("controller", tmp_path, environ=environ) as controllers:
        with Zygote("engines", tmp_path, environ=environ) as engines:
            controllers.start("ctl", controller)
            engines.start("e0", engine)
            engines.expect("registered", "e0")
            private = [path for path in tmp_path.iterdir() if path.name.startswith(".ipymesos-")]
            assert len(private) == 2 and all(path.stat().st_mode & 0o777 == 0o700 for path in private)
    assert list(home.iterdir()) == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".ipymesos-")]


# --- signals, ends and deaths ------------------------------------------------------------------------------------


def test_interrupt(pack: Pack) -> None:
    for code in ("import time; time.sleep(60)", "while True: pass"):
        result = pack.client[1].execute(code)
        eventually(lambda: pack.client.queue_status(1)["queue"] == 1)
        eventually(lambda: _busy(pack, 1))
        pack.client.send_signal(signal.SIGINT, targets=1, block=True)
        with pytest.raises(ipp.error.RemoteError, match="KeyboardInterrupt"):
            result.get(20)
    pack.client.send_signal("SIGINT", targets="all", block=True)  # idle engines don't mind
    pack.client.send_signal(0, targets="all", block=True)
    assert len(pack.client[:].apply_sync(os.getpid)) == N


def _busy(pack: Pack, engine_id: int) -> bool:
    text = (pack.engines.folder / f"{pack.task(engine_id)}.log").read_text()
    return "execute_request" in text.rstrip().split("\n")[-1]


def test_a_bad_signal_comes_back_as_an_error(pack: Pack) -> None:
    for bad in ("SIGNOTHING", 999):
        with pytest.raises(ipp.error.RemoteError):
            pack.client.send_signal(bad, targets=0, block=True)


@pytest.mark.parametrize(
    "death, status",
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("import os; os._exit(3)", 3),
    ],
)
def test_death_is_told_at_once(pack: Pack, victim: int, death: str, status: int) -> None:
    started = time.monotonic()
    result = pack.client[victim].execute(death)
    assert pack.engines.expect("exited", pack.task(victim))["status"] == status
    with pytest.raises(ipp.error.RemoteError, match="EngineError"):
        result.get(10)
    eventually(lambda: victim not in pack.client.ids)
    assert time.monotonic() - started < 5  # heartbeats alone would take 30 s
    assert len(pack.client[:].apply_sync(os.getpid)) == N


@pytest.mark.parametrize("wanted, signum", [(signal.SIGKILL, signal.SIGKILL), ("SIGTERM", signal.SIGTERM)])
def test_signals_that_end_are_answered_first(pack: Pack, victim: int, wanted: int | str, signum: int) -> None:
    pack.client.send_signal(wanted, targets=victim, block=True)
    assert pack.engines.expect("exited", pack.task(victim))["status"] == -signum
    eventually(lambda: victim not in pack.client.ids)


def test_sigterm_from_outside_is_an_orderly_end(pack: Pack, victim: int) -> None:
    pack.engines.signal(pack.task(victim), signal.SIGTERM)
    assert pack.engines.expect("exited", pack.task(victim))["status"] == -signal.SIGTERM
    assert "Traceback" not in (pack.engines.folder / f"{pack.task(victim)}.log").read_text()
    eventually(lambda: victim not in pack.client.ids)


def test_shutdown_of_one_engine(pack: Pack, victim: int) -> None:
    pack.client.shutdown(targets=victim, block=True)
    assert pack.engines.expect("leaving", pack.task(victim))
    assert pack.engines.expect("exited", pack.task(victim))["status"] == 0
    eventually(lambda: victim not in pack.client.ids)


def test_what_an_engine_started_ends_with_it(pack: Pack, victim: int) -> None:
    @ipp.interactive
    def spawn() -> int:
        import os
        import subprocess

        return subprocess.Popen(["sleep", "600"], preexec_fn=os.setpgrp).pid  # a group of its own, as a shell does

    child = pack.client[victim].apply_sync(spawn)
    pack.engines.signal(pack.task(victim), signal.SIGKILL)
    pack.engines.expect("exited", pack.task(victim))
    eventually(lambda: not _alive(child))


def test_a_new_engine_while_others_compute(pack: Pack) -> None:
    result = pack.client[0].apply(time.sleep, 1)
    late = pack.new_engine()
    assert pack.client[late].apply_sync(ipp.interactive(lambda: "here")) == "here"
    result.get(10)
    pack.client.shutdown(targets=late, block=True)
    eventually(lambda: len(pack.client) == N)


def test_news_for_those_who_subscribe_too_late(pack: Pack) -> None:
    """The subscription arrives only after the engine has registered; the question for the engines came before."""
    info = pack.controller["client_info"]
    session = Session(key=info["key"].encode(), packer="json", unpacker="json")
    with zmq.Context() as context:
        question, news = context.socket(zmq.DEALER), context.socket(zmq.SUB)
        question.linger = 0
        news.subscribe(b"")
        key = (info["curve_serverkey"] or "").encode()
        connect(question, f"{info['interface']}:{info['registration']}", curve_serverkey=key)
        session.send(question, "connection_request")
        assert question.poll(10_000)
        question.recv_multipart()
        late = pack.new_engine()
        connect(news, f"{info['interface']}:{info['notification']}", curve_serverkey=key)
        assert news.poll(10_000)
        _, parts = session.feed_identities(news.recv_multipart())
        message = session.deserialize(parts)
        question.close()
        news.close()
    assert message["msg_type"] == "registration_notification" and message["content"]["id"] == late
    told_once = pack.client.load_balanced_view().map_async(time.sleep, [0.2] * 2 * (N + 1))
    told_once.get(20)
    assert sorted(told_once.engine_id) == sorted(list(range(N)) * 2 + [late] * 2)
    pack.client.shutdown(targets=late, block=True)
    eventually(lambda: len(pack.client) == N)
    assert len(pack.client.load_balanced_view().map_sync(abs, range(N))) == N


# --- the end of all ----------------------------------------------------------------------------------------------


def test_shutdown_of_the_hub(mortal: Pack) -> None:
    mortal.client.shutdown(hub=True, block=True)
    assert mortal.controllers.expect("exited", "ctl")["status"] == 0
    for i in range(N):
        assert mortal.engines.expect("exited", f"e{i}")["status"] == 0


@pytest.mark.parametrize("signum", [signal.SIGKILL, None])
def test_nothing_outlives_the_end_of_executor_or_zygote(tmp_path: Path, signum: int | None) -> None:
    """The executor's end of the channel closes, or the zygote itself is killed."""
    made = Pack(tmp_path)
    pids = [pid for task in ["ctl", *(f"e{i}" for i in range(N))] for pid in processes.session_members(made.pid(task))]
    assert len(pids) == 9 + N
    made.client.close()
    for zygote in (made.engines, made.controllers):
        if signum is None:
            zygote.channel.close()
        else:
            zygote.kill()
    eventually(lambda: not [pid for pid in pids if _alive(pid)], 10)
    made.engines.__exit__()
    made.controllers.__exit__()


def test_controller_without_one_of_its_processes_ends(mortal: Pack) -> None:
    hub = mortal.pid("ctl")
    others = [pid for pid in processes.session_members(hub) if pid != hub]
    os.kill(others[3], signal.SIGKILL)
    message = mortal.controllers.expect("broken", "ctl")["message"]
    assert "ipcontroller's" in message and "killed by SIGKILL" in message
    assert mortal.controllers.expect("exited", "ctl")["status"] == 1
    eventually(lambda: not any(_alive(pid) for pid in others))


def test_killed_hub_leaves_no_port_open(mortal: Pack) -> None:
    os.kill(mortal.pid("ctl"), signal.SIGKILL)
    mortal.controllers.expect("exited", "ctl")
    wanted = [("127.0.0.1", port) for port in mortal.controller["ports"]]
    eventually(lambda: ports.busy(wanted) == [])


def test_a_taken_port_ends_the_controller(tmp_path: Path) -> None:
    controller, _ = payloads()
    with socket.socket() as thief, Zygote("controller", tmp_path) as controllers:
        thief.bind(("127.0.0.1", controller["ports"][3]))
        thief.listen()
        controllers.start("ctl", controller)
        assert controllers.expect("exited", "ctl")["status"] != 0
        assert "ipcontroller's" in controllers.expect("broken", "ctl")["message"]


def test_bad_arguments_end_an_engine_with_words(tmp_path: Path) -> None:
    _, engine = payloads()
    engine["args"] = ["--IPEngine.timeout=nonsense"]
    with Zygote("engines", tmp_path) as engines:
        engines.start("e0", engine)
        assert engines.expect("exited", "e0")["status"] == 1
    assert "nonsense" in (tmp_path / "e0.log").read_text()


# --- preload -----------------------------------------------------------------------------------------------------


def test_preload(tmp_path: Path) -> None:
    (tmp_path / "table.py").write_text("rows = list(range(1000))\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('out of order')\n")
    controller, engine = payloads()
    with Zygote("controller", tmp_path) as controllers:
        with Zygote("engines", tmp_path, "table", "no_such_module", "broken", extra_path=tmp_path) as engines:
            controllers.start("ctl", controller)
            engines.start("e0", engine)
            engines.expect("registered", "e0")
            with ipp.Client(controller["client_info"]) as client:
                eventually(lambda: len(client) == 1)
                assert client[0].apply_sync(ipp.interactive(lambda: "table" in __import__("sys").modules))
    text = (tmp_path / "zygote-engines.err").read_text()
    assert "no_such_module can't be imported here" in text and "out of order" in text


def test_engines_find_what_is_installed(pack: Pack) -> None:
    """While the zygote imports its world, it must not look for that."""

    @ipp.interactive
    def launchers() -> set[str]:
        from importlib import metadata

        from ipyparallel.traitlets import entry_points

        group = "ipyparallel.engine_launchers"
        assert {point.name for point in entry_points(group=group)} == {
            point.name for point in metadata.entry_points(group=group)
        }
        return {point.name for point in entry_points(group=group)}

    assert {"local", "mesos"} <= pack.client[0].apply_sync(launchers)


def test_preload_that_starts_threads_is_refused(tmp_path: Path) -> None:
    (tmp_path / "threads.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    with Zygote("engines", tmp_path, "threads", extra_path=tmp_path) as engines:
        message = engines.expect("failed")["message"]
    assert "importing threads starts threads" in message and "take it out of preload" in message


def test_numpy_is_left_to_engines_that_want_threads(tmp_path: Path) -> None:
    with Zygote("engines", tmp_path, "numpy", environ={"OPENBLAS_NUM_THREADS": "2"}) as engines:
        assert engines.expect("ready")["threads"] == 1


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
