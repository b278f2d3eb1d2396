"""What a run says while it goes on, and how it is stopped."""

import signal

import pytest

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
