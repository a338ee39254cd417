"""What follows from how two NAT boxes behave, as tables."""

import pytest

from domain.connectivity.nat import (
    UNKNOWN,
    Filtering,
    Mapping,
    NatBehavior,
    can_punch,
    keepalive_s,
    keeps_relay,
    wants_relay,
)

EIM = Mapping.ENDPOINT_INDEPENDENT
NONE = NatBehavior(Mapping.NONE, Filtering.ENDPOINT_INDEPENDENT)
FULL = NatBehavior(EIM, Filtering.ENDPOINT_INDEPENDENT)
ADDRESS = NatBehavior(EIM, Filtering.ADDRESS_DEPENDENT)
PORT = NatBehavior(EIM, Filtering.ADDRESS_AND_PORT_DEPENDENT)
SYMMETRIC = NatBehavior(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
BLOCKED = NatBehavior(Mapping.BLOCKED)
ALL = (NONE, FULL, ADDRESS, PORT, SYMMETRIC, BLOCKED, UNKNOWN)
HOPELESS = {
    frozenset((PORT, SYMMETRIC)),
    frozenset((SYMMETRIC,)),
    *(frozenset((BLOCKED, each)) for each in ALL),
}


@pytest.mark.parametrize("one", ALL, ids=lambda each: each.name)
@pytest.mark.parametrize("other", ALL, ids=lambda each: each.name)
def test_punching_can_work_but_for_these(one: NatBehavior, other: NatBehavior) -> None:
    assert can_punch(one, other) == (frozenset((one, other)) not in HOPELESS)
    assert can_punch(one, other) == can_punch(other, one)


@pytest.mark.parametrize("one", ALL, ids=lambda each: each.name)
@pytest.mark.parametrize("other", ALL, ids=lambda each: each.name)
def test_where_punching_is_hopeless_somebody_gets_a_relay(
    one: NatBehavior, other: NatBehavior
) -> None:
    if can_punch(one, other):
        assert not wants_relay(one, other, peer_has_relay=False)
    else:
        assert wants_relay(one, other, peer_has_relay=False)
        assert keeps_relay(one) or keeps_relay(other)


def test_one_relay_is_enough_unless_both_would_have_one_anyway() -> None:
    assert not wants_relay(PORT, SYMMETRIC, peer_has_relay=True)
    assert wants_relay(SYMMETRIC, SYMMETRIC, peer_has_relay=True)


def test_people_have_names_for_them() -> None:
    assert [each.name for each in ALL] == [
        "no NAT",
        "full cone",
        "address-restricted",
        "port-restricted",
        "symmetric",
        "UDP blocked",
        "unknown",
    ]


@pytest.mark.parametrize(
    ("binding_s", "expected_s"),
    [(None, 20.0), (0.0, 5.0), (8.5, 6.8), (28.5, 22.8), (118.5, 94.8), (298.5, 120.0)],
)
def test_a_binding_is_used_before_the_box_forgets_it(
    binding_s: float | None, expected_s: float
) -> None:
    assert keepalive_s(binding_s) == pytest.approx(expected_s)
