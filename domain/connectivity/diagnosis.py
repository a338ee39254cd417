"""What a network lets a node do, as verdicts that people can act on: what was found, why it matters, what to change.

Pure: `diagnose` makes them of a report. Each verdict has a code that never changes its meaning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import Final

from domain.connectivity.address import Address
from domain.connectivity.candidate import is_public
from domain.connectivity.nat import Filtering, Mapping, NatBehavior, keepalive_s, keeps_relay
from domain.connectivity.port_mapping import PortMappingReport, PortMappingState


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """How a server did when it was last asked.

    Args:
        server: What it is called, without secrets.
        round_trip_s: How long the answer took; None without one.
        mapped: What it said our address is, or the port that it relays for us.
        error: What went wrong; None if nothing did.
    """

    server: str
    round_trip_s: float | None = None
    mapped: Address | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraversalReport:
    """What is known about the network that the node is in.

    Args:
        nat: How the box before us behaves.
        local: Where this machine can be reached from its own network.
        stun: What each STUN server said.
        turn: How each way to a TURN server went.
        rendezvous: How each rendezvous answered.
        hairpins: Whether the box lets us reach ourselves at its outside; None if that is not known.
        port_mapping: What came of asking the router to forward a port; None if it was not to be asked.
        binding_s: For how many seconds the box keeps a binding that nobody uses; None if that was not measured yet.
    """

    nat: NatBehavior
    local: tuple[Address, ...]
    stun: tuple[ServerReport, ...] = ()
    turn: tuple[ServerReport, ...] = ()
    rendezvous: tuple[ServerReport, ...] = ()
    hairpins: bool | None = None
    port_mapping: PortMappingReport | None = None
    binding_s: float | None = None


BINDING_S_SHORT: Final = 25.0
"""Under that, even the usual packet every 20 s comes too late."""


class Severity(Enum):
    """How much a verdict matters."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One finding.

    Args:
        code: Its name for scripts.
        severity: How much it matters.
        cause: What is so.
        evidence: By what that was found.
        action: What to do; empty if nothing has to be done.
    """

    code: str
    severity: Severity
    cause: str
    evidence: str
    action: str = ""


_NAT: Final = {
    "no NAT": (
        Severity.GOOD,
        "the address of this machine is seen outside as it is: peers dial it directly",
    ),
    "full cone": (Severity.GOOD, "every peer that can send UDP reaches this node directly"),
    "address-restricted": (
        Severity.GOOD,
        "every peer that can send UDP reaches this node directly, once both know of each other",
    ),
    "port-restricted": (
        Severity.GOOD,
        "peers reach this node directly, but for those behind symmetric boxes, which need a relay",
    ),
    "endpoint-independent mapping": (
        Severity.GOOD,
        "most peers reach this node directly; how the box filters was not found out",
    ),
    "symmetric": (
        Severity.BAD,
        "the box uses another port for each peer: only peers behind open boxes meet this node directly",
    ),
}
_ASK_ANOTHER: Final = "use a STUN server with two addresses (RFC 5780), such as coturn"


def diagnose(report: TraversalReport) -> tuple[Verdict, ...]:
    """Make verdicts of what was found, what matters most first."""
    found = [
        *_judge_addresses(report),
        *_judge_nat(report),
        *_judge_hairpin(report),
        *_judge_port_mapping(report),
        *_judge_binding(report),
        *_judge_servers("stun", report.stun),
        *_judge_servers("turn", report.turn),
        *_judge_servers("rendezvous", report.rendezvous),
        *_judge_configuration(report),
    ]
    order = (Severity.BAD, Severity.NOTE, Severity.GOOD)
    return tuple(sorted(found, key=lambda each: order.index(each.severity)))


def _judge_addresses(report: TraversalReport) -> Iterator[Verdict]:
    outward = [each for each in report.local if not ip_address(each.host).is_loopback]
    if not outward:
        yield Verdict(
            code="no-address",
            severity=Severity.BAD,
            cause="this machine has no address but loopback: nobody can be reached",
            evidence="no interface leads anywhere",
            action="connect it to a network, or listen on another address than loopback (--listen)",
        )
        return
    ipv6 = [each for each in outward if ":" in each.host and is_public(each)]
    yield Verdict(
        code="ipv6" if ipv6 else "no-ipv6",
        severity=Severity.GOOD if ipv6 else Severity.NOTE,
        cause="IPv6 works on this machine: no NAT stands before it"
        if ipv6
        else "there is no IPv6 to the outside: only IPv4, and its NAT",
        evidence=", ".join(map(str, ipv6 or outward)),
    )


def _judge_nat(report: TraversalReport) -> Iterator[Verdict]:
    mapped = sorted({str(each.mapped) for each in report.stun if each.mapped is not None})
    evidence = f"seen outside as {', '.join(mapped)}" if mapped else "no STUN server answered"
    if not report.stun:
        yield Verdict(
            code="nat-unknown",
            severity=Severity.NOTE,
            cause="how this network looks from outside is not known",
            evidence="no STUN server is configured",
            action="name one with --stun",
        )
    elif report.nat.mapping is Mapping.BLOCKED:
        yield Verdict(
            code="udp-blocked",
            severity=Severity.BAD,
            cause="no UDP leaves this network, or no STUN server is up: all goes through a relay",
            evidence=f"{len(report.stun)} STUN servers were asked, and none answered",
            action="let UDP out in the firewall; else name a TURN server that takes TCP or TLS (--turn)",
        )
    elif report.nat.is_symmetric and _is_forwarded(report):
        yield Verdict(
            code="nat-symmetric",
            severity=Severity.NOTE,
            cause="symmetric: the box uses another port for each peer, but for the one that it forwards",
            evidence=evidence,
        )
    elif report.nat.name in _NAT:
        severity, cause = _NAT[report.nat.name]
        yield Verdict(
            code="nat-" + report.nat.name.replace(" ", "-").replace("no-NAT", "none"),
            severity=severity,
            cause=f"{report.nat.name}: {cause}",
            evidence=evidence,
            action="switch endpoint-independent mapping on in the router, or name a TURN server"
            if report.nat.is_symmetric
            else "",
        )
    else:
        yield Verdict(
            code="nat-unknown",
            severity=Severity.NOTE,
            cause="what the NAT does could not be found out",
            evidence=evidence,
            action=_ASK_ANOTHER,
        )
    if (
        report.nat.mapping is Mapping.ENDPOINT_INDEPENDENT
        and report.nat.filtering is Filtering.UNKNOWN
    ):
        yield Verdict(
            code="filtering-unknown",
            severity=Severity.NOTE,
            cause="whom the box lets in could not be found out",
            evidence="no STUN server that answered has a second address",
            action=_ASK_ANOTHER,
        )


def _is_forwarded(report: TraversalReport) -> bool:
    """Whether whoever can send UDP reaches this node by a port that the router forwards."""
    external = report.port_mapping.external if report.port_mapping is not None else None
    return external is not None and is_public(external)


def _judge_hairpin(report: TraversalReport) -> Iterator[Verdict]:
    if report.hairpins is None or report.nat.mapping is Mapping.NONE:
        return
    yield Verdict(
        code="hairpin" if report.hairpins else "no-hairpin",
        severity=Severity.GOOD if report.hairpins else Severity.NOTE,
        cause="two nodes behind this box reach each other by its address outside"
        if report.hairpins
        else "two nodes behind this box reach each other by their addresses inside alone",
        evidence="a packet to our own address outside "
        + ("came back" if report.hairpins else "did not come back"),
    )


def _judge_port_mapping(report: TraversalReport) -> Iterator[Verdict]:
    found = report.port_mapping
    if found is None:
        if report.nat.mapping not in (Mapping.NONE, Mapping.UNKNOWN):
            yield Verdict(
                code="port-mapping-off",
                severity=Severity.NOTE,
                cause="the router is not asked to forward a port to this node",
                evidence="that is not switched on",
                action="try --port-mapping: where it works, every peer that can send UDP reaches this node",
            )
        return
    gateway = f"the router {found.gateway}"
    match found.state:
        case PortMappingState.WORKS:
            yield _judge_forwarded(found)
        case PortMappingState.REFUSED:
            yield Verdict(
                code="port-mapping-refused",
                severity=Severity.NOTE,
                cause=f"{gateway} refuses to forward a port to this node",
                evidence=found.error or "",
                action="allow port mapping (PCP, NAT-PMP, UPnP) for this machine in the settings of the router",
            )
        case PortMappingState.SILENT | PortMappingState.ASKING:
            yield Verdict(
                code="port-mapping-silent",
                severity=Severity.NOTE,
                cause=f"{gateway} does not answer when it is asked to forward a port",
                evidence=found.error or "it has not answered yet",
                action="switch PCP, NAT-PMP or UPnP on in the router; for UPnP, install culm[upnp]",
            )
        case PortMappingState.ABSENT:
            yield Verdict(
                code="port-mapping-absent",
                severity=Severity.NOTE,
                cause="there is no router that could be asked to forward a port",
                evidence="no IPv4 route leads out from where this node listens",
                action="leave --port-mapping out here, or listen on all interfaces (--listen)",
            )


def _judge_forwarded(found: PortMappingReport) -> Verdict:
    assert found.external is not None
    evidence = f"{found.protocol}, asked of {found.gateway}, for {found.lifetime_s:.0f} s"
    if is_public(found.external):
        return Verdict(
            code="port-mapping-works",
            severity=Severity.GOOD,
            cause=f"the router forwards {found.external} to this node: peers dial it directly",
            evidence=evidence,
        )
    return Verdict(
        code="port-mapping-inside",
        severity=Severity.NOTE,
        cause=f"the router forwards {found.external} to this node, but is behind another box itself",
        evidence=evidence,
        action="switch the other box to bridge mode, or ask who runs it for an address of your own",
    )


def _judge_binding(report: TraversalReport) -> Iterator[Verdict]:
    if report.binding_s is None:
        return
    is_short = report.binding_s < BINDING_S_SHORT
    yield Verdict(
        code="binding-short" if is_short else "binding-kept",
        severity=Severity.NOTE if is_short else Severity.GOOD,
        cause="the box soon forgets who was silent, so this node sends something every "
        f"{keepalive_s(report.binding_s):.0f} s"
        if is_short
        else f"a packet every {keepalive_s(report.binding_s):.0f} s keeps the way in open",
        evidence=f"a binding that nobody used was still there after {report.binding_s:g} s",
        action="raise the time-out of UDP in the router, if it can be set" if is_short else "",
    )


def _judge_servers(kind: str, servers: Sequence[ServerReport]) -> Iterator[Verdict]:
    for each in servers:
        if each.error is None:
            took = (
                f"{1_000 * each.round_trip_s:.0f} ms" if each.round_trip_s is not None else "works"
            )
            yield Verdict(
                code=f"{kind}-works",
                severity=Severity.GOOD,
                cause=f"the {kind} server {each.server} works",
                evidence=took,
            )
        else:
            yield Verdict(
                code=f"{kind}-fails",
                severity=Severity.NOTE if kind == "turn" else Severity.BAD,
                cause=f"the {kind} server {each.server} cannot be used",
                evidence=each.error,
                action=f"check its address and whether it runs; name another with {_FLAGS[kind]}",
            )


_FLAGS: Final = {"stun": "--stun", "turn": "--turn", "rendezvous": "--via"}


def _judge_configuration(report: TraversalReport) -> Iterator[Verdict]:
    if not report.rendezvous:
        yield Verdict(
            code="rendezvous-missing",
            severity=Severity.NOTE,
            cause="peers behind NAT boxes find this node through common peers alone",
            evidence="no rendezvous is configured",
            action="name one with --via; any public node that runs with --rendezvous will do",
        )
    if any(each.error is None for each in report.turn):
        return
    if keeps_relay(report.nat) and not (report.nat.is_symmetric and _is_forwarded(report)):
        yield Verdict(
            code="relay-missing",
            severity=Severity.BAD,
            cause="most peers cannot be reached without a relay, and there is none",
            evidence="no TURN server works" if report.turn else "no TURN server is configured",
            action="name a TURN server with --turn",
        )
