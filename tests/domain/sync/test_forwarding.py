"""What is sent on, and when: nothing that is needed stays back for ever, and what comes in vain comes ever later."""

import random

from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import LogKey, PeerId
from domain.sync.forwarding import (
    ACKNOWLEDGE_LATER_S,
    ACKNOWLEDGE_S,
    JITTER,
    LATE_S,
    LATE_S_MAX,
    UNTOLD_LATER_S,
    UNTOLD_S,
    Acknowledgements,
    Forwarding,
)
from tests.contracts.operation_store import log_key

LOG, OTHER = log_key(1), log_key(2)
WAIT_S_MAX = LATE_S_MAX * (1 + JITTER)


def wait_s(forwarding: Forwarding, *, now: float = 0.0) -> float:
    """How long an operation that comes now is kept back."""
    forwarding.hold(LOG, now=now, share=0.0)
    due = forwarding.next_due
    forwarding.ready({}, now=now)  # the peer has it
    return 0.0 if due is None else due - now


def test_first_operation_waits_a_little_and_then_as_the_peer_says() -> None:
    forwarding = Forwarding({})
    assert wait_s(forwarding) == UNTOLD_S
    forwarding.hear(LOG, is_wanted=True, now=1.0, share=0.0)
    assert wait_s(forwarding) == 0.0
    forwarding.hear(LOG, is_wanted=False, now=2.0, share=0.0)
    assert wait_s(forwarding) == LATE_S


def test_who_wants_nothing_else_is_given_more_time_for_the_first_operation_of_an_author() -> None:
    forwarding = Forwarding({})
    forwarding.hear(OTHER, is_wanted=False, now=0.0, share=0.0)
    assert wait_s(forwarding) == UNTOLD_LATER_S
    forwarding.hear(OTHER, is_wanted=True, now=0.0, share=0.0)
    assert wait_s(forwarding) == UNTOLD_S


def test_what_was_sent_in_vain_waits_longer_each_time_up_to_a_bound() -> None:
    forwarding, waits = Forwarding({}), []
    forwarding.hear(LOG, is_wanted=False, now=0.0, share=0.0)
    for now in range(0, 1_000, 100):
        forwarding.hold(LOG, now=now, share=1.0)
        assert forwarding.ready({LOG: 0}, now=now) == {}
        assert forwarding.ready({LOG: 0}, now=now + WAIT_S_MAX) == {LOG: 0}
        forwarding.hear(LOG, is_wanted=False, now=now + 50, share=0.0)
        waits.append(wait_s(forwarding, now=now + 60))
    assert waits == sorted(waits)
    assert waits[0] == 2 * LATE_S
    assert waits[-1] == LATE_S_MAX
    forwarding.hear(LOG, is_wanted=True, now=2_000, share=0.0)
    forwarding.hear(LOG, is_wanted=False, now=2_000, share=0.0)
    assert wait_s(forwarding) == LATE_S


def test_as_long_as_a_peer_gets_on_it_is_sent_nothing() -> None:
    forwarding = Forwarding({})
    forwarding.hear(LOG, is_wanted=False, now=0.0, share=0.0)
    for step in range(100):
        forwarding.hold(LOG, now=step, share=0.5)
        assert forwarding.ready({LOG: step}, now=step) == {}
        forwarding.hear(LOG, is_wanted=False, now=step + 0.5, share=0.5)
    assert forwarding.ready({LOG: 100}, now=100 + WAIT_S_MAX) == {LOG: 100}


def test_who_asks_gets_everything_at_once() -> None:
    forwarding = Forwarding({})
    forwarding.hear(LOG, is_wanted=False, now=0.0, share=0.0)
    forwarding.hold(LOG, now=0.0, share=0.0)
    forwarding.release()
    assert forwarding.ready({LOG: 0, OTHER: 0}, now=0.0) == {LOG: 0, OTHER: 0}


def test_next_connection_goes_on_as_the_peer_said_and_all_logs_of_an_author_go_together() -> None:
    wishes: dict[PeerId, float] = {}
    Forwarding(wishes).hear(LOG, is_wanted=False, now=0.0, share=0.0)
    assert wait_s(Forwarding(wishes)) == LATE_S
    same_author = log_key(1, 7)
    assert same_author.author == LOG.author
    later = Forwarding(wishes)
    later.hold(same_author, now=0.0, share=0.0)
    assert later.next_due == LATE_S


@given(seed=st.integers(0, 2**32))
def test_nothing_is_kept_back_for_longer_than_the_bound(seed: int) -> None:
    chance, forwarding, now = random.Random(seed), Forwarding({}), 0.0
    logs = [log_key(1), log_key(1, 2), log_key(2)]
    since: dict[LogKey, float] = {}
    for _ in range(200):
        now += chance.choice((0.0, 0.01, 1.0, 5.0))
        log, share = chance.choice(logs), chance.random()
        if chance.random() < 0.5:
            forwarding.hold(log, now=now, share=share)
            since.setdefault(log, now)
        else:
            forwarding.hear(log, is_wanted=chance.random() < 0.3, now=now, share=share)
            since.pop(log, None)  # the peer has got on
        needed = dict.fromkeys(since, 0)
        ready = forwarding.ready(needed, now=now)
        assert ready.keys() <= needed.keys()
        for each in needed.keys() - ready.keys():
            assert now - since[each] <= WAIT_S_MAX
        for each in ready:
            del since[each]
        assert forwarding.next_due is None or forwarding.next_due <= now + WAIT_S_MAX


def note(acks: Acknowledgements, count: int, *, now: float, is_first: bool = False) -> None:
    acks.note(LOG, count, is_first=is_first, is_author=False, now=now)


def test_who_was_first_hears_at_once_that_more_is_wanted() -> None:
    acks = Acknowledgements()
    note(acks, 1, now=5.0, is_first=True)
    assert acks.due == 5.0
    assert acks.take(now=5.0) == {True: {LOG: 1}}
    assert acks.due is None
    assert acks.take(now=9.0) == {}


def test_others_hear_a_little_later_and_once_they_know_later_still() -> None:
    acks = Acknowledgements()
    note(acks, 1, now=0.0)
    assert acks.due == ACKNOWLEDGE_S
    assert acks.take(now=0.0) == {}
    assert acks.take(now=ACKNOWLEDGE_S) == {False: {LOG: 1}}
    for count in (2, 3):
        note(acks, count, now=1.0)
    assert acks.due == 1.0 + ACKNOWLEDGE_LATER_S
    assert acks.take(now=acks.due) == {False: {LOG: 3}}
    assert ACKNOWLEDGE_LATER_S < LATE_S
    assert ACKNOWLEDGE_S < UNTOLD_S


def test_an_author_never_waits_long_to_hear_who_holds_what_it_wrote() -> None:
    acks = Acknowledgements()
    for count in (1, 2):
        acks.note(LOG, count, is_first=False, is_author=True, now=count)
        assert acks.due == count + ACKNOWLEDGE_S
        assert acks.take(now=acks.due) == {False: {LOG: count}}


def test_what_waited_for_what_it_builds_on_changes_no_wish() -> None:
    acks = Acknowledgements()
    acks.note(LOG, 1, is_first=None, is_author=False, now=0.0)
    assert acks.take(now=1.0) == {None: {LOG: 1}}
    for is_first in (True, False):
        note(acks, 2, now=2.0, is_first=is_first)
        acks.note(LOG, 3, is_first=None, is_author=False, now=2.0)
        assert acks.take(now=9.0) == {is_first: {LOG: 3}}


def test_the_last_who_was_first_is_wanted() -> None:
    acks = Acknowledgements()
    note(acks, 1, now=0.0)
    note(acks, 2, now=0.0, is_first=True)
    assert acks.take(now=1.0) == {True: {LOG: 2}}
    note(acks, 3, now=2.0, is_first=True)
    note(acks, 4, now=2.0)
    assert acks.take(now=3.0) == {False: {LOG: 4}}
