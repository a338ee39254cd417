"""Verdicts about NAT boxes: what is kept, what is carried over to the next look, what is shown."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.codec import CodecError, encode
from domain.connectivity.address import Address
from domain.connectivity.nat import Filtering, Mapping, NatBehavior
from domain.connectivity.verdict import (
    BINDING_US_VALID,
    FILTER_US_MAX,
    NatVerdict,
    carry_over,
    describe_verdict,
    network_of,
    replaces,
    wants_binding,
)
from domain.limits import TIMESTAMP_MAX

EIM = Mapping.ENDPOINT_INDEPENDENT
OPEN = NatBehavior(EIM, Filtering.ENDPOINT_INDEPENDENT)
STRICT = NatBehavior(EIM, Filtering.ADDRESS_AND_PORT_DEPENDENT)
SEEN = Address("203.0.113.1", 4_433)
HOME = NatVerdict(
    behavior=STRICT, measured_us=1_000, local=("10.0.0.2", "fe80::1"), outside=(SEEN,)
)
VERDICTS = st.builds(
    NatVerdict,
    behavior=st.builds(NatBehavior, st.sampled_from(Mapping), st.sampled_from(Filtering)),
    measured_us=st.integers(0, TIMESTAMP_MAX),
    local=st.lists(st.ip_addresses().map(str), max_size=16).map(tuple),
    outside=st.lists(
        st.builds(Address.from_host, st.ip_addresses().map(str), st.integers(0, 65_535)),
        max_size=16,
    ).map(tuple),
    hairpins=st.none() | st.booleans(),
    binding_s=st.none() | st.integers(0, 300_000).map(lambda each: each / 1_000),
    binding_us=st.integers(0, TIMESTAMP_MAX),
)


@given(VERDICTS)
def test_what_is_kept_is_read_again(verdict: NatVerdict) -> None:
    assert NatVerdict.decode(verdict.encode()) == replace(verdict, is_recalled=True)


@given(st.binary(max_size=64))
def test_other_bytes_are_no_verdict(data: bytes) -> None:
    with pytest.raises(CodecError):
        NatVerdict.decode(data)


@pytest.mark.parametrize(
    "fields",
    [
        [1, 2, 3, 1, [], [], None],
        [1, 2, 3, 1, [], [], None, None, 0],
        [2, 99, 3, 1, [], [], None, None, 0],
        [2, 2, 3, -1, [], [], None, None, 0],
        [2, 2, 3, 1, ["x"] * 17, [], None, None, 0],
        [2, 2, 3, 1, [], ["no address"], None, None, 0],
        [2, 2, 3, 1, [], [], 7, None, 0],
        [2, 2, 3, 1, [], [], None, -1, 0],
        [2, 2, 3, 1, [], [], None, 10**9, 0],
    ],
)
def test_a_field_out_of_range_is_refused(fields: list[object]) -> None:
    with pytest.raises(CodecError):
        NatVerdict.decode(encode(fields))  # type: ignore[arg-type]


def test_a_network_is_told_by_ipv4_where_there_is_any() -> None:
    assert network_of(["127.0.0.1", "::1", "169.254.1.1", "fe80::1"]) == frozenset()
    assert network_of(["10.0.0.2", "2001:db8::1", "127.0.0.1"]) == {"10.0.0.2"}
    assert network_of(["2001:db8::1", "::1"]) == {"2001:db8::1"}


def test_a_second_look_from_the_same_address_does_not_loosen_the_filter() -> None:
    again = replace(HOME, behavior=OPEN, measured_us=2_000)
    assert carry_over(HOME, again) == HOME
    assert carry_over(replace(HOME, behavior=OPEN), again).behavior == OPEN
    unknown = replace(again, behavior=NatBehavior(EIM))
    assert carry_over(HOME, unknown).behavior == STRICT


@pytest.mark.parametrize(
    "again",
    [
        replace(HOME, behavior=OPEN, outside=(Address("203.0.113.1", 5_000),)),
        replace(HOME, behavior=OPEN, outside=(Address("203.0.113.7", 4_433),)),
        replace(HOME, behavior=OPEN, local=("10.0.0.3",)),
        replace(HOME, behavior=OPEN, measured_us=1_000 + FILTER_US_MAX),
        replace(HOME, behavior=NatBehavior(Mapping.NONE, Filtering.ENDPOINT_INDEPENDENT)),
        replace(HOME, behavior=NatBehavior(Mapping.BLOCKED), outside=()),
    ],
    ids=["another port", "another address", "another machine", "a day later", "no NAT", "silence"],
)
def test_elsewhere_or_later_what_was_found_counts(again: NatVerdict) -> None:
    assert carry_over(HOME, again) == again


def test_what_is_known_of_hairpins_stays_in_its_network() -> None:
    before = replace(HOME, hairpins=True)
    assert carry_over(before, HOME).hairpins is True
    assert carry_over(before, replace(HOME, hairpins=False)).hairpins is False
    assert carry_over(before, replace(HOME, outside=(Address("192.0.2.1", 1),))).hairpins is None


def test_silence_and_ignorance_do_not_replace_what_was_found() -> None:
    blocked = replace(HOME, behavior=NatBehavior(Mapping.BLOCKED), outside=())
    assert replaces(None, HOME)
    assert replaces(None, blocked)
    assert not replaces(HOME, blocked)
    assert replaces(HOME, replace(blocked, local=("10.9.0.2",)))
    assert not replaces(None, replace(HOME, behavior=NatBehavior()))
    assert not replaces(None, replace(HOME, local=("127.0.0.1",)))


def test_a_person_is_told_what_when_and_where() -> None:
    hours_later = HOME.measured_us + 3 * 3_600 * 1_000_000
    assert describe_verdict(HOME, now_us=hours_later) == (
        "port-restricted, seen outside as 203.0.113.1:4433, found 3 h ago"
    )
    recalled = replace(HOME, hairpins=False, outside=(), is_recalled=True)
    assert describe_verdict(recalled, now_us=0) == (
        "port-restricted, does not hairpin, found 0 s ago, not looked at again since the node started"
    )


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (HOME, True),
        (replace(HOME, is_recalled=True), False),
        (replace(HOME, behavior=NatBehavior(Mapping.NONE)), False),
        (replace(HOME, behavior=NatBehavior(Mapping.BLOCKED)), False),
        (replace(HOME, binding_us=5_000), False),
        (replace(HOME, binding_us=5_000, binding_s=28.5), False),
        (replace(HOME, binding_us=5_000 + BINDING_US_VALID, binding_s=28.5), True),
    ],
)
def test_the_lifetime_of_bindings_is_measured_behind_a_box_once_a_day(
    verdict: NatVerdict, *, expected: bool
) -> None:
    assert wants_binding(verdict, now_us=5_000 + BINDING_US_VALID - 1) is expected


def test_the_lifetime_of_bindings_stays_with_the_box() -> None:
    before = replace(HOME, binding_s=28.5, binding_us=7)
    later = replace(HOME, measured_us=9_000)
    assert carry_over(before, later) == replace(before, measured_us=9_000)
    moved = replace(later, outside=(Address("203.0.113.7", 4_433),))
    assert carry_over(before, moved).binding_s is None
    symmetric = replace(later, behavior=NatBehavior(Mapping.ADDRESS_AND_PORT_DEPENDENT))
    assert carry_over(before, symmetric).binding_us == 0
