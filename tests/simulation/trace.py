"""What goes over the network of a scenario: condensed to a digest, and listened to once all should be quiet."""

from abc import abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

from adapters.simulation.internet.internet import PacketEvent, PacketFate
from adapters.simulation.link import TraceEvent, TraceKind
from domain.sync.message import CompactOperation, decode_message
from tests.simulation.member import Member

CONTROL: Final = b""
IDLE_DATAGRAMS_PER_S_MAX: Final = 2.0
"""From one node, for each other one: what keeps a connection alive is a few datagrams every few seconds."""
TRYING_DATAGRAMS_PER_S_MAX: Final = 8.0
"""The same where some cannot meet: those go on trying, with some dozens of probes every half a minute."""


class Trace:
    """What both kinds of network have in common.

    Attributes:
        events: How much has happened so far.
        quiet_since: From this virtual second on nobody should have anything left to say; None before.
    """

    def __init__(self) -> None:
        self.digest = blake2b(digest_size=16)
        self.events = 0
        self.quiet_since: float | None = None

    def _note(self, time_s: float, *parts: object) -> bool:
        """Add an event to the digest; True if it should be quiet."""
        self.events += 1
        self.digest.update(" ".join((repr(time_s), *map(str, parts))).encode())
        return self.quiet_since is not None and time_s > self.quiet_since

    @abstractmethod
    def check(self, members: Sequence[Member], now: float) -> list[str]:
        """Complain about what was said since it should be quiet."""


class MessageTrace(Trace):
    """Messages: nobody says anything about the document."""

    def __init__(self) -> None:
        super().__init__()
        self._noise: list[str] = []

    def report(self, event: TraceEvent) -> None:
        """Take an event of the network."""
        is_noise = self._note(
            event.time_s, event.kind.value, event.sender, event.receiver, event.connection
        )
        self.digest.update(event.channel)
        self.digest.update(event.message)
        if is_noise and event.kind is TraceKind.SENT and event.channel != CONTROL:
            message = decode_message(event.message)
            what = type(message).__name__
            if isinstance(message, CompactOperation):
                what += f" {message.seq_num}"
            self._noise.append(
                f"{event.sender} says {what} to {event.receiver} at {event.time_s:.3f}"
            )

    def check(self, members: Sequence[Member], now: float) -> list[str]:
        if not self._noise:
            return []
        return [f"not quiet: {len(self._noise)} messages, first {self._noise[0]}"]


class DatagramTrace(Trace):
    """Datagrams: nobody can be overheard, but who is quiet sends no more than keeps connections alive.

    Args:
        idle_per_s_max: How many datagrams a second that may be, from one node for each other one.
    """

    def __init__(self, idle_per_s_max: float) -> None:
        super().__init__()
        self._idle_per_s_max = idle_per_s_max
        self._sent: dict[str, int] = {}

    def report(self, event: PacketEvent) -> None:
        """Take an event of the internet."""
        packet: Any = event.packet
        is_noise = self._note(
            event.time_s, event.fate.value, packet.source, packet.destination, event.why
        )
        self.digest.update(packet.payload)
        if is_noise and event.fate is PacketFate.SENT:
            self._sent[packet.origin] = self._sent.get(packet.origin, 0) + 1

    def check(self, members: Sequence[Member], now: float) -> list[str]:
        assert self.quiet_since is not None
        bound = self._idle_per_s_max * (now - self.quiet_since) * (len(members) - 1)
        return [
            f"not quiet: {name} has sent {count} datagrams, more than {bound:.0f}"
            for name, count in sorted(self._sent.items())
            if count > bound
        ]
