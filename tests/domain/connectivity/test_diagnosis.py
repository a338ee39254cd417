"""Verdicts: each is provoked by a report."""

from dataclasses import replace

import pytest

from domain.connectivity.address import Address
from domain.connectivity.diagnosis import ServerReport, Severity, TraversalReport, diagnose
from domain.connectivity.nat import Filtering, Mapping, NatBehavior
from domain.connectivity.port_mapping import PortMappingReport, PortMappingState

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
MAPPED = PortMappingReport(
    state=PortMappingState.WORKS,
    gateway="10.0.0.1",
    protocol="PCP",
    external=OUTSIDE,
    lifetime_s=3_600.0,
)


def mapping(state: PortMappingState) -> TraversalReport:
    asked = PortMappingReport(state=state, gateway="10.0.0.1", error="for a reason")
    return replace(BASE, port_mapping=asked)


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
    "port-mapping-off": BASE,
    "port-mapping-works": replace(BASE, port_mapping=MAPPED),
    "port-mapping-inside": replace(
        BASE, port_mapping=replace(MAPPED, external=Address("100.64.0.7", 4_433))
    ),
    "port-mapping-refused": mapping(PortMappingState.REFUSED),
    "port-mapping-silent": mapping(PortMappingState.SILENT),
    "port-mapping-absent": mapping(PortMappingState.ABSENT),
    "binding-kept": replace(BASE, binding_s=118.5),
    "binding-short": replace(BASE, binding_s=18.5),
    "stun-works": BASE,
    "stun-fails": replace(BASE, stun=(FAILS, WORKS)),
    "turn-works": BASE,
    "turn-fails": replace(BASE, turn=(FAILS,)),
    "rendezvous-works": BASE,
    "rendezvous-fails": replace(BASE, rendezvous=(FAILS,)),
    "rendezvous-missing": replace(BASE, rendezvous=()),
    "relay-missing": replace(BASE, nat=NatBehavior(APDM, APDF), turn=(FAILS,)),
}


def test_symmetric_box_that_forwards_a_port_needs_no_relay() -> None:
    symmetric = replace(BASE, nat=NatBehavior(APDM, APDF), turn=(), port_mapping=MAPPED)
    found = {each.code: each for each in diagnose(symmetric)}
    assert found["nat-symmetric"].severity is Severity.NOTE
    assert "relay-missing" not in found
    blocked = replace(symmetric, nat=NatBehavior(Mapping.BLOCKED))
    assert "relay-missing" in {each.code for each in diagnose(blocked)}
    inside = replace(MAPPED, external=Address("192.168.1.7", 4_433))
    assert "relay-missing" in {
        each.code for each in diagnose(replace(symmetric, port_mapping=inside))
    }


@pytest.mark.parametrize("state", PortMappingState)
def test_how_it_stands_with_the_router_is_said_once(state: PortMappingState) -> None:
    report = replace(BASE, port_mapping=replace(MAPPED, state=state))
    codes = [each.code for each in diagnose(report)]
    assert sum(code.startswith("port-mapping-") for code in codes) == 1


def test_where_there_is_no_box_nobody_is_to_ask_one() -> None:
    report = replace(BASE, nat=NatBehavior(Mapping.NONE, APDF))
    assert "port-mapping-off" not in {each.code for each in diagnose(report)}


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
