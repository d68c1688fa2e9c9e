"""Stop signals are noted, also by whoever begins to listen later."""

import os
import signal

import pytest

from xxact.training.signals import STOP_SIGNALS, StopFlag


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_noted_and_the_handler_is_put_back(number):
    before = signal.getsignal(number)
    with StopFlag() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
    assert signal.getsignal(number) == before


def test_what_came_before_the_inner_context_counts_in_it():
    with StopFlag():
        with StopFlag() as early:
            assert not early.requested
        os.kill(os.getpid(), signal.SIGUSR2)
        with StopFlag() as late:
            assert late.requested
    with StopFlag() as fresh:
        assert not fresh.requested
