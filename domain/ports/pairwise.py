"""How two devices hand each other small secrets without being online together: X3DH and a double ratchet.

A session goes one way, from the device that started it to the other; the answer, if there is one, has a session of its
own. The port keeps nothing: a session goes in and comes out as bytes, so that its owner can store the new state in the
transaction that stores the message. Two calls with the same state make two messages with one key: whoever sends one of
them must never send the other, and so must store before it sends.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from domain.identifiers import PeerId
from domain.prekey import Prekey, PrekeyPair


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseSealed:
    """A message, and the session as it is after it (secret: seal it at rest)."""

    session: bytes = field(repr=False)
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseOpened:
    """What a message said, and the session as it is after it (both secret)."""

    session: bytes = field(repr=False)
    plain: bytes = field(repr=False)


class PairwiseChannel(Protocol):
    """Seals messages of this device for one other device, and opens those for it.

    A message opens once, with the session as it was before it, in the order in which the messages were sealed; up to 64
    in a row may be missing. Whatever fails leaves the session that was given as it was; so does a cancelled call.
    """

    @abstractmethod
    async def start(
        self, recipient: PeerId, prekey: Prekey, plain: bytes, *, context: bytes
    ) -> PairwiseSealed:
        """Begin a session with its first message.

        Args:
            recipient: For whom.
            prekey: A prekey of the recipient; its expiry is not looked at.
            plain: At most `CONTROL_BODY_BYTES_MAX` bytes.
            context: What the session is for; the recipient has to say the same.

        Raises:
            PairwiseError: `wrong-prekey` - the recipient did not sign it; `wrong-key` - one of its keys is of small
                order, so nothing would be secret.
        """

    @abstractmethod
    async def seal(self, session: bytes, plain: bytes, *, context: bytes) -> PairwiseSealed:
        """Seal the next message of a session that we started.

        Raises:
            PairwiseError: `malformed` - the session is not what this adapter gave.
        """

    @abstractmethod
    async def open(
        self,
        sender: PeerId,
        session: bytes | None,
        prekeys: Mapping[bytes, PrekeyPair],
        message: bytes,
        *,
        context: bytes,
    ) -> PairwiseOpened:
        """Open a message; one that begins a session needs none, and replaces the one before.

        Args:
            sender: Who is said to have sent it; proven by this.
            session: The session as it was after the last message of this sender, None before the first.
            prekeys: Our prekeys, by their public halves.
            message: What `start` or `seal` gave.
            context: As the sender said.

        Raises:
            PairwiseError: It does not open; `.code` says why.
        """
