"""Which secrets a document has, who was given each, and everybody's prekey.

Everything here is in clear in the log: that a secret was given to somebody, not the secret. Whether content may use a
secret depends on its causal past alone (`is_announced`); who is owed what is a matter of what a replica has, and
decides nothing but who sends what to whom next.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from domain import codec, limits
from domain.errors import OperationError
from domain.identifiers import OperationId, PeerId, SecretId
from domain.ledger.reach import Vector
from domain.operations.control import Role
from domain.operations.distribution import PrekeyNotice, SecretDistribution
from domain.prekey import Prekey


class LedgerPlace(NamedTuple):
    """The place of an operation in this ledger."""

    slot: int
    seq_num: int

    def is_in(self, past: Vector) -> bool:
        """Whether the operation belongs to a causal past."""
        return self.seq_num < past.get(self.slot, 0)


PastOf = Callable[[LedgerPlace], Vector]
"""Gives the causal past of an operation, itself included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPrekey:
    """The latest prekey of a device, where it stands, and what the device asks for with it."""

    prekey: Prekey
    missing: tuple[SecretId, ...]
    place: LedgerPlace


@dataclass(slots=True)
class SecretHistory:
    """What the log says about one secret."""

    announced: list[tuple[LedgerPlace, PeerId]] = field(default_factory=list)
    readers: dict[PeerId, LedgerPlace] = field(default_factory=dict)
    pullers: dict[PeerId, LedgerPlace] = field(default_factory=dict)

    def holders(self) -> set[PeerId]:
        """Who can open what it seals: whom it was given to, and who made it."""
        return {*self.readers, *(author for _, author in self.announced)}

    def is_held_by(self, peer: PeerId) -> bool:
        """Whether a device is one of the holders."""
        return peer in self.readers or any(author == peer for _, author in self.announced)


class Announcements:
    """What the log of one document says about its secrets."""

    def __init__(self) -> None:
        self.secrets: dict[SecretId, SecretHistory] = {}
        self.prekeys: dict[PeerId, PublishedPrekey] = {}
        self.additions: dict[PeerId, tuple[OperationId, LedgerPlace]] = {}
        """The latest operation that made each device a member, and its place."""

    # -- Rules --

    def is_announced(self, secret: SecretId, past: Vector) -> bool:
        """Whether a causal past names a secret, so that its holders can be told."""
        history = self.secrets.get(secret)
        return history is not None and any(place.is_in(past) for place, _ in history.announced)

    @staticmethod
    def check_prekey(author: PeerId, notice: PrekeyNotice) -> None:
        """Check a prekey operation: one Ed25519 verification.

        Raises:
            OperationError: The author did not sign the prekey as such.
        """
        if not notice.prekey.is_signed_by(author):
            raise OperationError("wrong-prekey", "its author did not sign the prekey")

    def check_distribution(
        self, distribution: SecretDistribution, role: Role, past: Vector
    ) -> None:
        """Check a distribution at its place.

        Raises:
            OperationError: Its author may not give these secrets.
        """
        announces = any(not self.is_announced(secret, past) for secret in distribution.secrets)
        if role < (Role.WRITE if announces else Role.READ):
            raise OperationError("not-permitted", "its author may not give these secrets there")

    # -- Taking in --

    def publish(self, author: PeerId, notice: PrekeyNotice, place: LedgerPlace) -> None:
        """Take a checked prekey operation into account."""
        self.prekeys[author] = PublishedPrekey(
            prekey=notice.prekey, missing=notice.missing, place=place
        )

    def distribute(
        self, author: PeerId, distribution: SecretDistribution, place: LedgerPlace, past: Vector
    ) -> None:
        """Take a checked distribution into account; `past` may include it."""
        before = {**past, place.slot: place.seq_num}
        for secret in distribution.secrets:
            is_new = not self.is_announced(secret, before)
            history = self.secrets.setdefault(secret, SecretHistory())
            if is_new:
                history.announced.append((place, author))
            history.readers.update((peer, place) for peer, _ in distribution.readers)
            history.pullers.update((peer, place) for peer, _ in distribution.pullers)

    # -- What follows --

    def is_clean(self, secret: SecretId, role: Callable[[PeerId], Role | None]) -> bool:
        """Whether nobody who holds a secret may no longer read."""
        history = self.secrets.get(secret)
        return history is not None and all(
            (role(peer) or 0) >= Role.READ for peer in history.holders()
        )

    def newest(self, secrets: Iterable[SecretId], past_of: PastOf) -> SecretId | None:
        """Give the causally latest of some secrets; of those that know nothing of each other, the lowest id."""
        latest: list[tuple[SecretId, Vector]] = []
        wanted = set(secrets)
        for secret in reversed([secret for secret in self.secrets if secret in wanted]):
            place, _ = self.secrets[secret].announced[0]
            if not any(place.is_in(past) for _, past in latest):
                latest.append((secret, past_of(place)))
        return min((secret for secret, _ in latest), default=None)

    def is_lacked_by(self, peer: PeerId, secret: SecretId, past_of: PastOf) -> bool:
        """Whether a device which may read was never given a secret, or has asked for it since it was."""
        history = self.secrets.get(secret)
        if history is None:
            return False
        given = history.readers.get(peer)
        return not history.is_held_by(peer) or self._asks(peer, secret, given, past_of)

    def lacks_discovery_key(self, peer: PeerId, secret: SecretId, past_of: PastOf) -> bool:
        """Whether a device that may not read was not told where others meet under a secret, or asks again since."""
        history = self.secrets.get(secret)
        if history is None or peer in history.holders():
            return history is None
        given = history.pullers.get(peer)
        return given is None or self._asks(peer, secret, given, past_of)

    def _asks(
        self, peer: PeerId, secret: SecretId, given: LedgerPlace | None, past_of: PastOf
    ) -> bool:
        """Whether a device says that it lacks a secret; of one that it was given, whether it says so since."""
        published = self.prekeys.get(peer)
        if published is None or secret not in published.missing:
            return False
        return given is None or not published.place.is_in(past_of(given))

    # -- Keeping --

    def to_value(self) -> codec.Value:
        """Give what `restore` reads."""
        return (
            [
                (
                    secret,
                    [(*place, author) for place, author in history.announced],
                    [(peer, *place) for peer, place in history.readers.items()],
                    [(peer, *place) for peer, place in history.pullers.items()],
                )
                for secret, history in self.secrets.items()
            ],
            [
                (peer, published.prekey.value(), published.missing, *published.place)
                for peer, published in self.prekeys.items()
            ],
            [(peer, addition, *place) for peer, (addition, place) in self.additions.items()],
        )

    def restore(self, value: object) -> None:
        """Read what `to_value` gave."""
        secrets, prekeys, additions = codec.take_list(value, maximum=3)
        for entry in codec.take_list(secrets, maximum=2**32):
            secret, announced, readers, pullers = codec.take_list(entry, maximum=4)
            history = SecretHistory(
                readers=_restore_places(readers), pullers=_restore_places(pullers)
            )
            for each in codec.take_list(announced, maximum=2**32):
                slot, seq_num, author = codec.take_list(each, maximum=3)
                history.announced.append((_restore_place(slot, seq_num), _restore_peer(author)))
            self.secrets[_restore_secret(secret)] = history
        for entry in codec.take_list(prekeys, maximum=2**32):
            peer, prekey, missing, slot, seq_num = codec.take_list(entry, maximum=5)
            listed = codec.take_list(missing, maximum=limits.SECRETS_PER_DISTRIBUTION_MAX)
            self.prekeys[_restore_peer(peer)] = PublishedPrekey(
                prekey=Prekey.from_value(prekey),
                missing=tuple(_restore_secret(secret) for secret in listed),
                place=_restore_place(slot, seq_num),
            )
        for entry in codec.take_list(additions, maximum=2**32):
            peer, addition, slot, seq_num = codec.take_list(entry, maximum=4)
            self.additions[_restore_peer(peer)] = (
                OperationId(codec.take_bytes(addition, maximum=32)),
                _restore_place(slot, seq_num),
            )


def _restore_places(value: object) -> dict[PeerId, LedgerPlace]:
    places = {}
    for entry in codec.take_list(value, maximum=2**32):
        peer, slot, seq_num = codec.take_list(entry, maximum=3)
        places[_restore_peer(peer)] = _restore_place(slot, seq_num)
    return places


def _restore_place(slot: object, seq_num: object) -> LedgerPlace:
    return LedgerPlace(codec.take_int(slot, maximum=2**32), codec.take_int(seq_num, maximum=2**32))


def _restore_peer(value: object) -> PeerId:
    return PeerId(codec.take_bytes(value, maximum=32))


def _restore_secret(value: object) -> SecretId:
    return SecretId(codec.take_bytes(value, maximum=32))
