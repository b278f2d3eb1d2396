"""What a run says while it goes on, and how it is stopped."""

import signal

import pytest

from handrail.progress import Console


def test_the_first_ctrl_c_asks_and_the_second_stops_even_if_it_comes_at_once(monkeypatch):
    """While the first is still being answered, for which more may have to be imported."""
    console = Console()
    monkeypatch.setattr(console, "say", lambda text: signal.raise_signal(signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), console.interruptible():
        signal.raise_signal(signal.SIGINT)
    assert console.stopping
    assert signal.getsignal(signal.SIGINT) is before
