"""What has happened in a node, counted: for its operator, and for programs that watch it.

Everything comes in as events, but for traffic, which the connections count themselves: that of ended ones is added up
here. Counters live in memory and start at nothing with the node. Bounded: of very many peers the oldest lose their own
counters and are in the totals alone.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from domain.connectivity.verdict import NatVerdict
from domain.events import (
    ConnectionActive,
    Event,
    NetworkErrorMet,
    OperationRefused,
    PeerStateChanged,
    SecurityEvent,
)
from domain.identifiers import DocumentId, PeerId
from domain.limits import ERRORS_KEPT_MAX, SECURITY_EVENTS_KEPT_MAX, STATISTICS_PEERS_MAX
from domain.ports.environment import Clock
from domain.ports.network import ConnectionStatistics

SHOWN_MAX: Final = 10  # of the last errors, in a report for a person; a program gets all


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes and messages, both ways."""

    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0

    def __add__(self, other: "Traffic | ConnectionStatistics") -> "Traffic":
        """Add up."""
        return Traffic(
            bytes_sent=self.bytes_sent + other.bytes_sent,
            bytes_received=self.bytes_received + other.bytes_received,
            messages_sent=self.messages_sent + other.messages_sent,
            messages_received=self.messages_received + other.messages_received,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatistics:
    """What has happened with one peer, or with all.

    Args:
        traffic: On all connections so far, those that are up included.
        connections: How many connections there were.
        reconnects: How many of them followed an earlier one.
        errors: How often each class of error was met.
        states: How often each state of the life cycle was entered.
        round_trip_s: Of the connection that is up; of all peers the median; None where there is none.
    """

    traffic: Traffic
    connections: int
    reconnects: int
    errors: Mapping[str, int]
    states: Mapping[str, int]
    round_trip_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something that went wrong, `at_us` microseconds since 1970 UTC; `peer` is whom it was about."""

    at_us: int
    peer: PeerId
    kind: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatistics:
    """What has happened in a node since it started.

    Args:
        uptime_s: For how long it has run.
        memory_bytes: What the process holds; None where the system does not say.
        overall: With all peers together.
        peers: With each.
        last_errors: The last hundred, the latest last.
        security: The last hundred times that a peer did what no honest peer does.
        security_count: How often that was.
        nat: What is known about the NAT before us; `is_recalled` if it was found before the node started, maybe in
            another network. None if nothing ever was, or there is no network to examine.
    """

    uptime_s: float
    memory_bytes: int | None
    overall: PeerStatistics
    peers: Mapping[PeerId, PeerStatistics]
    last_errors: tuple[Noted, ...]
    security: tuple[Noted, ...]
    security_count: int
    nat: NatVerdict | None = None

    def report(self) -> str:
        """Tell it to a person, in a few lines."""
        lines = [f"up {self.uptime_s:.0f} s"]
        if self.memory_bytes is not None:
            lines[0] += f", memory {self.memory_bytes / 1e6:.1f} MB"
        lines += _tell("overall", self.overall)
        for peer, each in self.peers.items():
            lines += _tell(f"peer {peer.short}", each)
        lines += _tell_last("last errors", self.last_errors)
        lines += _tell_last(f"security events ({self.security_count})", self.security)
        return "\n".join(lines)


def _tell(who: str, statistics: PeerStatistics) -> list[str]:
    traffic = statistics.traffic
    trip = f", round trip {1e3 * statistics.round_trip_s:.1f} ms" if statistics.round_trip_s else ""
    lines = [
        f"{who}: {statistics.connections} connections ({statistics.reconnects} again){trip}",
        f"  sent {traffic.bytes_sent:,} bytes in {traffic.messages_sent:,} messages",
        f"  received {traffic.bytes_received:,} bytes in {traffic.messages_received:,} messages",
    ]
    if statistics.errors:
        counted = sorted(statistics.errors.items(), key=lambda entry: (-entry[1], entry[0]))
        lines.append("  errors: " + ", ".join(f"{kind} {count}" for kind, count in counted))
    return lines


def _tell_last(head: str, noted: tuple[Noted, ...]) -> list[str]:
    shown = noted[-SHOWN_MAX:]
    left_out = f", the last {len(shown)}" if len(noted) > len(shown) else ""
    lines = [f"  {each.peer.short} {each.kind}: {each.what}" for each in shown]
    return [f"{head}{left_out}:", *lines] if lines else []


@dataclass(slots=True)
class _Account:
    traffic: Traffic = field(default_factory=Traffic)
    connections: int = 0
    reconnects: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)

    def freeze(self, running: Iterable[ConnectionStatistics]) -> PeerStatistics:
        traffic, trips = self.traffic, []
        for each in running:
            traffic += each
            if each.round_trip_s is not None:
                trips.append(each.round_trip_s)
        return PeerStatistics(
            traffic=traffic,
            connections=self.connections,
            reconnects=self.reconnects,
            errors=dict(self.errors),
            states=dict(self.states),
            round_trip_s=sorted(trips)[len(trips) // 2] if trips else None,
        )


class Statistics:
    """Counts.

    Args:
        clock: Tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.now()
        self._overall = _Account()
        self._peers: dict[PeerId, _Account] = {}
        self._errors: deque[Noted] = deque(maxlen=ERRORS_KEPT_MAX)
        self._security: deque[Noted] = deque(maxlen=SECURITY_EVENTS_KEPT_MAX)
        self._security_count = 0
        self._refusals: deque[tuple[DocumentId, str]] = deque(maxlen=ERRORS_KEPT_MAX)

    def take(self, event: Event) -> None:
        """Count an event."""
        match event:
            case PeerStateChanged():
                for account in self._accounts(event.peer):
                    account.states[event.new.value] += 1
            case ConnectionActive():
                mine, overall = self._accounts(event.peer)
                overall.reconnects += mine.connections > 0
                mine.reconnects += mine.connections > 0
                for account in (mine, overall):
                    account.connections += 1
            case NetworkErrorMet():
                for account in self._accounts(event.peer):
                    account.errors[event.error] += 1
                self._errors.append(self._note(event.peer, event.error, event.reason))
            case OperationRefused():
                self._refusals.append((event.document, event.reason))
            case SecurityEvent():
                self._security_count += 1
                self._security.append(self._note(event.peer, "security", event.what))
            case _:
                pass

    def refusals(self, document: DocumentId) -> tuple[str, ...]:
        """Say why operations of a document were refused, the latest last; of the last hundred of all documents."""
        return tuple(reason for each, reason in self._refusals if each == document)

    def add_traffic(self, peer: PeerId, carried: ConnectionStatistics) -> None:
        """Count what a connection carried that has ended."""
        for account in self._accounts(peer):
            account.traffic += carried

    def freeze(
        self,
        running: Mapping[PeerId, ConnectionStatistics],
        memory_bytes: int | None,
        nat: NatVerdict | None = None,
    ) -> NodeStatistics:
        """Give everything as it is now; `running` is what the connections have carried that are up."""
        return NodeStatistics(
            uptime_s=self._clock.now() - self._started,
            memory_bytes=memory_bytes,
            overall=self._overall.freeze(running.values()),
            peers={
                peer: account.freeze([running[peer]] if peer in running else ())
                for peer, account in sorted(self._peers.items())
            },
            last_errors=tuple(self._errors),
            security=tuple(self._security),
            security_count=self._security_count,
            nat=nat,
        )

    def _accounts(self, peer: PeerId) -> tuple[_Account, _Account]:
        account = self._peers.get(peer)
        if account is None:
            if len(self._peers) >= STATISTICS_PEERS_MAX:
                del self._peers[next(iter(self._peers))]
            account = self._peers[peer] = _Account()
        return account, self._overall

    def _note(self, peer: PeerId, kind: str, what: str) -> Noted:
        return Noted(at_us=self._clock.timestamp_us(), peer=peer, kind=kind, what=what)
