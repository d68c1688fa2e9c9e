"""The status line, on a terminal and elsewhere."""

import io

import pytest

from xxact import terminal
from xxact.data.progress import Rate
from xxact.terminal import StatusLine, format_seconds


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, in seconds."""
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def screen(monkeypatch):
    """Function (is it a terminal) -> standard error, as a text that grows."""

    def make(isatty):
        stream = io.StringIO()
        stream.isatty = lambda: isatty
        monkeypatch.setattr("sys.stderr", stream)
        return stream

    return make


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00")]
)
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text


def test_a_terminal_shows_one_line_and_keeps_the_last(clock, screen):
    stream = screen(True)
    line = StatusLine(redraw_s=0.2, print_s=10.0)
    clock[0] += 0.1
    assert not line.is_due
    clock[0] += 0.2
    assert line.is_due
    line.show("half")
    assert not line.is_due
    line.show("whole", last=True)
    assert stream.getvalue() == "\r\033[Khalf\r\033[Kwhole\n"


def test_a_file_gets_a_line_now_and_then(clock, screen):
    stream = screen(False)
    line = StatusLine(redraw_s=0.2, print_s=10.0)
    clock[0] += 9
    assert not line.is_due
    clock[0] += 1
    assert line.is_due
    line.show("half")
    assert stream.getvalue() == "half\n"


def test_a_rate_leaves_out_what_was_found_done(clock, screen):
    stream = screen(False)
    rate = Rate("rows")
    rate.skip(500)
    clock[0] += 10
    rate.update(1500, 4500)
    clock[0] += 5
    rate.update(2000, 4500)  # not due
    rate.update(4500, 4500, "3 failures", last=True)
    assert stream.getvalue().splitlines() == [
        "rows: 1,500 of about 4,500, 33 %, 100/s, 0:30 left",
        "rows: 4,500 of 4,500, 100 %, 267/s, 0:15, 3 failures",
    ]
