"""The life cycle of a connection: what the table allows, and what the model remembers of it."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transitions import MachineError

from domain.connectivity.lifecycle import (
    ATTEMPT,
    MACHINE,
    TRANSITIONS,
    Lifecycle,
    State,
    Step,
)
from domain.limits import LIFECYCLE_CHANGES_MAX

DIALLED = (
    Step.INITIALIZE,
    Step.CONNECT,
    Step.HEAR,
    Step.AUTHENTICATE,
    Step.PROVE,
    Step.ENCRYPT,
    Step.CONFIRM,
    Step.ACTIVATE,
)
ACCEPTED = (Step.ACCEPT, *DIALLED[3:])


def after(steps: Sequence[Step], *, step_s: float = 1.0) -> Lifecycle:
    lifecycle = Lifecycle(now=0.0)
    for number, step in enumerate(steps, start=1):
        lifecycle.take(step, now=number * step_s)
    return lifecycle


@st.composite
def walks(draw: st.DrawFn) -> tuple[Lifecycle, list[Step]]:
    """A life cycle after any steps that the table allows."""
    lifecycle, taken = Lifecycle(now=0.0), []
    for number in range(draw(st.integers(0, 40))):
        step = draw(st.sampled_from([step for step in Step if lifecycle.may(step)]))
        lifecycle.take(step, now=float(number))
        taken.append(step)
    return lifecycle, taken


@given(walks())
def test_no_state_is_a_dead_end_and_a_connection_can_always_be_had_again(
    walk: tuple[Lifecycle, list[Step]],
) -> None:
    lifecycle, _ = walk
    for step in (Step.END, Step.WAIT):
        if lifecycle.may(step):
            lifecycle.take(step, now=99.0)
    for step in DIALLED:
        lifecycle.take(step, now=100.0)
    assert lifecycle.state is State.ACTIVE


@given(walks())
def test_changes_are_told_once_in_order_and_join_up(walk: tuple[Lifecycle, list[Step]]) -> None:
    lifecycle, taken = walk
    changes = lifecycle.take_changes()
    assert [change.step for change in changes] == taken[-LIFECYCLE_CHANGES_MAX:]
    for before, following in pairwise(changes):
        assert (before.new, before.at) == (following.old, following.at - 1)
    if changes:
        assert (changes[-1].new, changes[-1].at) == (lifecycle.state, lifecycle.since)
    assert lifecycle.take_changes() == []


@given(walks(), st.sampled_from(Step))
def test_what_the_table_does_not_have_is_an_error_and_changes_nothing(
    walk: tuple[Lifecycle, list[Step]], step: Step
) -> None:
    lifecycle, _ = walk
    state, since = lifecycle.state, lifecycle.since
    sources = next(sources for each, sources, _ in TRANSITIONS if each is step)
    assert lifecycle.may(step) == (state in sources)
    if state not in sources:
        with pytest.raises(MachineError):
            lifecycle.take(step, now=1_000.0)
        assert (lifecycle.state, lifecycle.since) == (state, since)


def test_nobody_serves_who_has_not_proven_who_he_is() -> None:
    def leads_to_active(without: Step) -> bool:
        reached, found = {State.DISCONNECTED}, {State.DISCONNECTED}
        while found:
            found = {
                new
                for step, sources, new in TRANSITIONS
                if step is not without and reached & set(sources)
            } - reached
            reached |= found
        return State.ACTIVE in reached

    assert leads_to_active(Step.INITIALIZE)  # by being dialled
    for needed in (Step.PROVE, Step.CONFIRM):
        assert not leads_to_active(needed)


def test_phases_are_those_of_the_attempt_that_led_there() -> None:
    lifecycle = after(DIALLED, step_s=0.5)
    assert lifecycle.phases_s() == dict.fromkeys(ATTEMPT, 0.5)
    assert after(ACCEPTED).phases_s() == dict.fromkeys(ATTEMPT[2:], 1.0)
    for step in (Step.END, Step.WAIT, *DIALLED):
        lifecycle.take(step, now=lifecycle.since + 2.0)
    assert lifecycle.phases_s() == dict.fromkeys(ATTEMPT, 2.0)


def test_an_address_that_led_nowhere_counts_as_time_before_connecting() -> None:
    lifecycle = after([*DIALLED[:4], *DIALLED[1:]])
    phases = lifecycle.phases_s()
    assert list(phases) == list(ATTEMPT)
    assert phases[State.INITIALIZING] == 4.0
    assert {took for state, took in phases.items() if state is not State.INITIALIZING} == {1.0}


def test_the_machine_holds_the_table_and_keeps_no_peer_alive() -> None:
    first, second = after(DIALLED[:2]), after(DIALLED)
    assert (first.state, second.state) == (State.CONNECTING, State.ACTIVE)
    assert MACHINE.models == []


def test_who_is_told_of_a_change_finds_it() -> None:
    lifecycle = Lifecycle(now=0.0)
    found: list[State] = []
    lifecycle.changed = lambda: found.extend(change.new for change in lifecycle.take_changes())
    for number, step in enumerate(ACCEPTED):
        lifecycle.take(step, now=float(number))
    assert found == [*ATTEMPT[2:], State.ACTIVE]
