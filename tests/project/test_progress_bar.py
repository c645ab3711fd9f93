"""The line about a long phase, in a log; in a terminal it is tqdm's own."""

import logging

import pytest

from sg_pipeline import progress_bar
from sg_pipeline.progress_bar import ProgressBar


class Clock:
    """Stands for the clock that tqdm reads."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("tqdm.std.tqdm._time", clock, raising=False)
    monkeypatch.setattr(ProgressBar, "__init__", with_clock(ProgressBar.__init__, clock))
    return clock


def with_clock(begin, clock):
    def timed(self, *arguments):
        begin(self, *arguments)
        self._time, self.start_t, self.last_print_t = clock, clock(), clock()

    return timed


def test_a_log_has_one_line_a_minute(clock, caplog):
    with caplog.at_level(logging.INFO, logger=progress_bar.__name__), ProgressBar("playing", 400, "games") as bar:
        for _ in range(400):
            clock.now += 1
            bar.update()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 6  # of 400 seconds
    assert lines[0].startswith("playing:  15% 60")
    assert "05:40" in lines[0]
    assert "1.00 games/s" in lines[0]


def test_a_short_phase_and_a_quiet_log_show_nothing(clock, caplog, capsys):
    with caplog.at_level(logging.INFO, logger=progress_bar.__name__), ProgressBar("playing", 40, "games") as bar:
        for _ in range(40):
            clock.now += 1
            bar.update()
    with caplog.at_level(logging.WARNING, logger=progress_bar.__name__), ProgressBar("playing", 400, "games") as bar:
        for _ in range(400):
            clock.now += 1
            bar.update()
    assert not caplog.records
    assert capsys.readouterr() == ("", "")
