"""The daemon's own time: whatever happens to the machine's clock, nothing is hours old or waits for hours."""

from __future__ import annotations

from ipymesos.daemon.clock import LONGEST_STEP, SteadyClock


class Machine:
    def __init__(self) -> None:
        self.wall, self.monotonic = 1_000_000.0, 50.0
        self.clock = SteadyClock(lambda: self.wall, lambda: self.monotonic)

    def pass_time(self, seconds: float, step: float = 1.0) -> float:
        """Let time pass while the clock is asked regularly; what the clock says has passed."""
        before = self.clock()
        for _ in range(round(seconds / step)):
            self.wall, self.monotonic = self.wall + step, self.monotonic + step
            now = self.clock()
        return now - before


def test_it_goes_as_the_machines_does() -> None:
    machine = Machine()
    assert machine.clock() == 1_000_000.0
    assert machine.pass_time(100) == 100.0 and machine.clock() == machine.wall


def test_a_clock_set_back_stops_nothing() -> None:
    machine = Machine()
    machine.wall -= 7200
    before = machine.clock()
    assert before == 1_000_000.0
    assert machine.pass_time(60) == 30.0
    machine.pass_time(2 * 7200)
    assert abs(machine.clock() - machine.wall) <= 1.0


def test_a_clock_set_forward_makes_nothing_old() -> None:
    machine = Machine()
    machine.wall += 7200
    assert machine.pass_time(60) == 120.0
    machine.pass_time(7200)
    assert abs(machine.clock() - machine.wall) <= 1.0


def test_sleep_does_not_count() -> None:
    machine = Machine()
    before = machine.clock()
    machine.wall, machine.monotonic = machine.wall + 3600, machine.monotonic + 3600  # SIGSTOP
    assert machine.clock() - before <= 2 * LONGEST_STEP and machine.clock.sleeps == 1
    before = machine.clock()
    machine.wall += 3600  # a laptop: its monotonic clock sleeps, too
    assert machine.clock() == before
