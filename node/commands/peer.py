"""Commands about peers and about the node as a whole: peers, status."""

import dataclasses
from collections.abc import AsyncGenerator

from domain.connectivity.lifecycle import State
from domain.connectivity.verdict import describe_verdict
from domain.identifiers import PeerId
from domain.pairing import PairingState, trust
from domain.ports.network import Connection
from node.commands.arguments import Arguments
from node.commands.context import Answer, CommandContext, describe_damaged, describe_document
from node.node import Node
from node.owner import DocumentOwner
from node.peer_status import PeerStatus
from node.statistics import NodeStatistics, Noted, PeerStatistics
from node.version import culm_version


async def peers(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """List the peers that are known."""
    del arguments
    node = context.node
    now = node.environment.clock.now()
    members: dict[PeerId, list[str]] = {}
    for owner in node.owners():
        for peer in owner.document.ledger.membership.members():
            members.setdefault(peer, []).append(str(owner.document.document))
    known = dict.fromkeys(members) | node.peers.known
    known.pop(node.peer_id, None)
    yield {
        "peers": [
            {"peer": str(peer), "documents": sorted(members.get(peer, ()))}
            | _describe(status, node.peers.next_dial(peer), now)
            | {"path": _path(context, peer), "trust": _trust(context, peer)}
            for peer, status in sorted(known.items())
        ]
    }


def _trust(context: CommandContext, peer: PeerId) -> dict[str, dict[str, str]]:
    """Say for each document where the peer stands with it, and why it is taken for whom it says it is."""
    node = context.node
    return {
        str(owner.document.document): {
            "pairing": pairing.value,
            "trust": trust(owner.document.ledger, node.peer_id, peer).value,
        }
        for owner in node.owners()
        if (pairing := node.admission.pairing(owner, peer)) is not PairingState.UNPAIRED
    }


def _path(context: CommandContext, peer: PeerId) -> str | None:
    """How packets go to a connected peer; None if that is not known."""
    traversal = context.node.environment.traversal
    is_relayed = traversal.is_relayed(peer) if traversal is not None else None
    return None if is_relayed is None else "relayed" if is_relayed else "direct"


def _describe(status: PeerStatus | None, next_dial: float | None, now: float) -> dict[str, object]:
    """Say how it stands with a peer; None is one that we have only heard of."""
    connection = status.link.connection if status is not None and status.link is not None else None
    round_trip_s = connection.statistics().round_trip_s if connection is not None else None
    return {
        "state": (status.lifecycle.state if status is not None else State.DISCONNECTED).value,
        "since_s": round(now - status.lifecycle.since, 3) if status is not None else None,
        "connected_s": _served_s(connection, now),
        "address": connection.remote_address if connection is not None else None,
        "addresses": list(status.addresses) if status is not None else [],
        "round_trip_ms": round(1e3 * round_trip_s, 3) if round_trip_s is not None else None,
        "failures": status.failures if status is not None else 0,
        "last_error": status.last_error if status is not None else None,
        "next_attempt_s": round(max(0.0, next_dial - now), 3) if next_dial is not None else None,
    }


def _served_s(connection: Connection | None, now: float) -> float | None:
    """How long a connection has served, whether its peer is quiet or not; None where there is none."""
    served_at = connection.lifecycle.entered_at(State.ACTIVE) if connection is not None else None
    return round(now - served_at, 3) if served_at is not None else None


async def doctor(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Find out what this network lets the node do."""
    del arguments
    verdicts = await context.node.doctor()
    traversal = context.node.environment.traversal
    yield {
        "nat": traversal.nat.name if traversal is not None else None,
        "network": _network(context.node),
        "verdicts": [
            {
                "code": each.code,
                "severity": each.severity.value,
                "cause": each.cause,
                "evidence": each.evidence,
                "action": each.action,
            }
            for each in verdicts
        ],
    }


async def status(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Give the state of the node and of its documents."""
    del arguments
    node = context.node
    statistics = node.statistics()
    yield {
        "version": culm_version(),
        "peer": str(node.peer_id),
        "data": str(context.directory),
        "addresses": list(node.addresses),
        "nat": node.environment.traversal.nat.name if node.environment.traversal else None,
        "network": _network(node),
        "connections": len(node.peers.links()),
        "mirrored": sorted(context.mirrored),
        "statistics": _count(statistics),
        "report": statistics.report(),
        "documents": [
            describe_document(info) | _account(owner, node.peer_id)
            for info, owner in zip(node.documents(), node.owners(), strict=True)
        ],
        "damaged": describe_damaged(node),
    }


def _network(node: Node) -> dict[str, object] | None:
    """Say what is known about the NAT, since when, and in which network."""
    verdict = node.statistics().nat
    if verdict is None:
        return None
    return {
        "nat": verdict.behavior.name,
        "mapping": verdict.behavior.mapping.name.lower(),
        "filtering": verdict.behavior.filtering.name.lower(),
        "hairpins": verdict.hairpins,
        "binding_s": verdict.binding_s,
        "measured_us": verdict.measured_us,
        "is_recalled": verdict.is_recalled,
        "local": list(verdict.local),
        "outside": [str(each) for each in verdict.outside],
        "text": describe_verdict(verdict, now_us=node.environment.clock.timestamp_us()),
    }


def _count(statistics: NodeStatistics) -> dict[str, object]:
    return {
        "uptime_s": round(statistics.uptime_s, 3),
        "memory_bytes": statistics.memory_bytes,
        "overall": _count_peer(statistics.overall),
        "peers": {str(peer): _count_peer(each) for peer, each in statistics.peers.items()},
        "last_errors": [_note(each) for each in statistics.last_errors],
        "security": [_note(each) for each in statistics.security],
        "security_count": statistics.security_count,
    }


def _count_peer(statistics: PeerStatistics) -> dict[str, object]:
    round_trip_s = statistics.round_trip_s
    return dataclasses.asdict(statistics.traffic) | {
        "connections": statistics.connections,
        "reconnects": statistics.reconnects,
        "errors": dict(statistics.errors),
        "states": dict(statistics.states),
        "round_trip_ms": round(1e3 * round_trip_s, 3) if round_trip_s is not None else None,
    }


def _note(noted: Noted) -> dict[str, object]:
    return {"at_us": noted.at_us, "peer": str(noted.peer), "kind": noted.kind, "what": noted.what}


def _account(owner: DocumentOwner, own_id: PeerId) -> dict[str, object]:
    """Say who the members of a document are, and how many operations each has not acknowledged."""
    members = owner.document.ledger.membership.members()
    others = [peer for peer in members if peer != own_id]
    return {
        "operations": sum(height.count for height in owner.document.heights.values()),
        "members": [str(peer) for peer in members],
        "pending": {str(peer): owner.receipts.pending(peer) for peer in others},
    }
