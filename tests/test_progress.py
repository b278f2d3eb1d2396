"""What a run says while it goes on, and how it is stopped."""

import contextlib
import io
import re
import signal

import pytest
import rich.console

from handrail import progress
from handrail.progress import Console


@pytest.mark.parametrize(
    ("seconds", "rate"), [(0.1, "40 episodes/s"), (2.5, "1.6 episodes/s"), (40.0, "0.1 episodes/s")]
)
def test_slow_stages_have_a_rate_too(monkeypatch, seconds, rate):
    console, said, now = Console(), [], 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    monkeypatch.setattr(console, "say", said.append)
    console.begin("episodes", 4, "episodes")
    now = seconds
    console.advance(4, {})
    (line,) = said
    assert rate in line


def test_the_first_ctrl_c_asks_and_the_second_stops_even_if_it_comes_at_once(monkeypatch):
    """While the first is still being answered, for which more may have to be imported."""
    console = Console()
    monkeypatch.setattr(console, "say", lambda text: signal.raise_signal(signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), console.interruptible():
        signal.raise_signal(signal.SIGINT)
    assert console.stopping
    assert signal.getsignal(signal.SIGINT) is before


# -- on a terminal -------------------------------------------------------------------------------

HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"
"""What hides a terminal's cursor, and what shows it again."""


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    """What every console of the test writes to a terminal of 120 columns."""
    monkeypatch.setenv("TERM", "xterm")
    written = io.StringIO()

    class Terminal(rich.console.Console):
        def __init__(self, **given):
            super().__init__(file=written, force_terminal=True, width=120, **given)

    monkeypatch.setattr(rich.console, "Console", Terminal)
    return written


def last_drawn(written: io.StringIO) -> str:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    return [line for line in re.split("[\r\n]+", plain) if line.strip()][-1]


def test_a_bar_shows_what_is_done_its_rate_and_the_latest_figures(terminal, monkeypatch):
    console, now = Console(), 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    console.begin("IQL", 400, "steps", done=100)
    now = 10.0
    console.advance(300, {"eval/return": 12.34, "eval/cost": 5.0, "guide/share": 0.25})
    assert terminal.getvalue().startswith(HIDDEN)
    console.end()
    shown = last_drawn(terminal)
    assert re.fullmatch(
        r"IQL \S+ +300/400 20 steps/s \S+ +return 12\.3 cost 5\.0 guide 25%", shown.strip()
    ), shown
    assert terminal.getvalue().count(HIDDEN) == terminal.getvalue().count(SHOWN) == 1


@pytest.mark.parametrize("ends", ["done", "next", "stopped", "broken"])
def test_the_cursor_is_there_again_whatever_happens(ends, terminal):
    with contextlib.suppress(RuntimeError), Console().interruptible() as console:
        console.begin("one", 10, "updates")
        assert terminal.getvalue().count(SHOWN) == 0
        if ends == "done":
            console.advance(10, {})
            assert terminal.getvalue().count(SHOWN) == 1
        elif ends == "next":
            console.begin("two", 10, "steps")
        elif ends == "stopped":
            signal.raise_signal(signal.SIGINT)
            assert console.stopping
        else:
            raise RuntimeError("the simulator broke")
    written = terminal.getvalue()
    assert written.count(HIDDEN) == written.count(SHOWN) == (2 if ends == "next" else 1)
    assert written.rindex(SHOWN) > written.rindex(HIDDEN)
    assert ("stopping after a checkpoint" in written) == (ends == "stopped")
