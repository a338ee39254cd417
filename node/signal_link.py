"""The signals of one connection: what node/signalling.py says there, and to whom."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from domain.connectivity.bucket import TokenBucket
from domain.connectivity.signal import Register, Signal, encode_signal
from domain.errors import ConnectionLostError
from domain.limits import NOBODY_S, NOBODY_TAGS_MAX, RENDEZVOUS_TAGS_MAX
from domain.ports.network import Channel, Connection


@dataclass(eq=False, slots=True)
class SignalLink:
    """The signals of one connection.

    Args:
        connection: The connection.
        channel: Its channel for signals.
        is_known: Whether the peer shares a document with us, so that we hand on offers for it.
        is_server: Whether it is a rendezvous of ours: whoever knows a tag of ours comes through it.
        bucket: Bounds how many.
        reply_tag: Under which answers to what we send through it find us; of each link another, so that two servers
            do not see that we are one.
        told: Under which tags it finds us, as far as it was told.
        nobody: Under which tags it knows nobody, and until when that is taken for granted.
    """

    connection: Connection
    channel: Channel
    is_known: Callable[[], bool]
    is_server: bool
    bucket: TokenBucket
    reply_tag: bytes
    told: tuple[bytes, ...] = ()
    nobody: dict[bytes, float] = field(default_factory=dict)

    @property
    def is_of_stranger(self) -> bool:
        """Whether the peer is neither a member of ours nor a rendezvous of ours."""
        return not (self.is_server or self.is_known())

    def tell(self, tags: Sequence[bytes]) -> None:
        """Say under which tags we are found, if that has changed: none to a stranger.

        Tags mean nothing to it, but if it serves as a rendezvous too they would say whose they are.
        """
        listed = () if self.is_of_stranger else (self.reply_tag, *tags[: RENDEZVOUS_TAGS_MAX - 1])
        if listed != self.told:
            self.told = listed
            self.say(Register(listed))

    def note_nobody(self, tag: bytes, *, now: float) -> None:
        """Keep in mind for a while that the peer knows nobody under a tag."""
        if len(self.nobody) >= NOBODY_TAGS_MAX:
            self.nobody.clear()
        self.nobody[tag] = now + NOBODY_S

    def knows_nobody(self, tag: bytes, *, now: float) -> bool:
        """Whether it has said so, a moment ago."""
        return self.nobody.get(tag, 0.0) > now

    def say(self, signal: Signal) -> None:
        """Send a signal, or drop it if the peer does not read."""
        with suppress(ConnectionLostError):
            self.channel.offer(encode_signal(signal))
