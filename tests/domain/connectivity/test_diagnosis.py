"""Verdicts: each is provoked by a report."""

from dataclasses import replace

import pytest

from domain.connectivity.address import Address
from domain.connectivity.diagnosis import ServerReport, Severity, TraversalReport, diagnose
from domain.connectivity.nat import Filtering, Mapping, NatBehavior

HOME = Address("10.0.0.2", 4_433)
OUTSIDE = Address("203.0.113.1", 4_433)
WORKS = ServerReport(server="example.org:3478", round_trip_s=0.02, mapped=OUTSIDE)
FAILS = ServerReport(server="example.org:3478", error="no answer")
EIM, APDM = Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT
APDF = Filtering.ADDRESS_AND_PORT_DEPENDENT
BASE = TraversalReport(
    nat=NatBehavior(EIM, APDF),
    local=(HOME,),
    stun=(WORKS,),
    turn=(WORKS,),
    rendezvous=(WORKS,),
    hairpins=False,
)
CASES = {
    "no-address": replace(BASE, local=(Address("127.0.0.1", 1),)),
    "ipv6": replace(BASE, local=(HOME, Address("2001:db8::1", 1))),
    "no-ipv6": BASE,
    "nat-none": replace(BASE, nat=NatBehavior(Mapping.NONE, APDF)),
    "nat-full-cone": replace(BASE, nat=NatBehavior(EIM, Filtering.ENDPOINT_INDEPENDENT)),
    "nat-address-restricted": replace(BASE, nat=NatBehavior(EIM, Filtering.ADDRESS_DEPENDENT)),
    "nat-port-restricted": BASE,
    "nat-symmetric": replace(BASE, nat=NatBehavior(APDM, APDF)),
    "nat-endpoint-independent-mapping": replace(BASE, nat=NatBehavior(EIM)),
    "filtering-unknown": replace(BASE, nat=NatBehavior(EIM)),
    "nat-unknown": replace(BASE, nat=NatBehavior(), stun=()),
    "udp-blocked": replace(BASE, nat=NatBehavior(Mapping.BLOCKED), stun=(FAILS,)),
    "hairpin": replace(BASE, hairpins=True),
    "no-hairpin": BASE,
    "stun-works": BASE,
    "stun-fails": replace(BASE, stun=(FAILS, WORKS)),
    "turn-works": BASE,
    "turn-fails": replace(BASE, turn=(FAILS,)),
    "rendezvous-works": BASE,
    "rendezvous-fails": replace(BASE, rendezvous=(FAILS,)),
    "rendezvous-missing": replace(BASE, rendezvous=()),
    "relay-missing": replace(BASE, nat=NatBehavior(APDM, APDF), turn=(FAILS,)),
}


@pytest.mark.parametrize("code", CASES)
def test_a_verdict_is_provoked(code: str) -> None:
    found = {each.code: each for each in diagnose(CASES[code])}
    verdict = found[code]
    assert verdict.cause
    assert verdict.evidence
    assert verdict.severity is not Severity.BAD or verdict.action


@pytest.mark.parametrize("code", CASES)
def test_what_matters_most_comes_first(code: str) -> None:
    severities = [each.severity for each in diagnose(CASES[code])]
    order = (Severity.BAD, Severity.NOTE, Severity.GOOD)
    assert severities == sorted(severities, key=order.index)


def test_a_good_network_gives_nothing_bad() -> None:
    assert Severity.BAD not in {each.severity for each in diagnose(BASE)}


def test_what_cannot_be_found_out_is_said_once() -> None:
    codes = [each.code for each in diagnose(replace(BASE, nat=NatBehavior()))]
    assert codes.count("nat-unknown") == 1
