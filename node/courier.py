"""Hands secrets to the members of a document, and takes those that are handed to us.

What a message moves (a session, a secret, a prekey) is kept in the transaction of the operation that carries it:
`take_records` gives what belongs to the operations that are stored next. So a crash repeats nothing and loses nothing.

Who gives what a member lacks: who admitted it, at once; else members take turns, each 2 s after the one before, in an
order that differs for each member. Two gifts at once do no harm.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from domain import limits
from domain.codec import CodecError
from domain.crdt.replica import Replica
from domain.document import Document
from domain.errors import NotPermittedError, PairwiseError, SealError
from domain.founding import new_prekey
from domain.identifiers import PeerId, SecretId
from domain.keyring import OutgoingSession, Records
from domain.ledger.announcements import LedgerPlace
from domain.operations.control import Role, decode_body
from domain.operations.distribution import (
    Contents,
    Parcel,
    PrekeyNotice,
    SecretDistribution,
    pairwise_context,
)
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from domain.prekey import Prekey
from domain.sealing import NONCE_BYTES, SECRET_BYTES, DocumentSecret, open_record, seal_record
from domain.secrets import Gift, missing, owed, rank, rotation, usable_prekey
from node.deadlines import INSTANT_S
from node.environment import Environment

logger = logging.getLogger(__name__)

RECORD_LABEL: Final = "key"
TURN_S: Final = 2.0  # a member that is connected has seen to it long before
TURNS_MAX: Final = 30
ASK_AGAIN_S: Final = 60.0  # doubling up to an hour: somebody may give us what never opens
ASK_AGAIN_S_MAX: Final = 3_600.0
DAY_S: Final = (
    86_400.0  # so often everything is looked at again: the clock on the wall may have jumped
)
ROTATION: Final = b"rotation"
NEVER: Final = float("inf")

Given = tuple[SecretId, bool]
"""A secret that a device was given, and whether itself, or its discovery key alone."""


class SecretCourier:
    """Gives and takes the secrets of one document.

    Args:
        document: The document; its keyring is filled by `load`.
        environment: Where it is stored, and what else is outside.
    """

    def __init__(self, document: Document, environment: Environment) -> None:
        self._document = document
        self._environment = environment
        self._own = environment.key.peer
        self._records: Records = {}
        self._presented: dict[PeerId, Prekey] = {}
        self._unreachable: dict[PeerId, bytes] = {}
        self._answered: dict[PeerId, tuple[LedgerPlace, set[Given]]] = {}
        """By who asked, where it did last, what we have given since. The log does not always say so: what we write
        does not build on an ask that itself builds on what we cannot read."""
        self._noticed: dict[bytes, float] = {}
        self._seen: tuple[int, int, int, bool, Replica] | None = None
        self._refused: int | None = None
        """How many control operations there were when nobody would have taken ours."""
        self._gifts: list[tuple[float, Gift]] = []
        self._rotate_due = NEVER
        self._notice_due = NEVER
        self._is_rotation_asked = False
        self._pays_at_once = False
        self._asked_count = 0
        self._asked_at = -NEVER
        self._has_fresh = False

    # -- Keeping --

    async def load(self) -> None:
        """Take in what was kept.

        Raises:
            StorageError: It cannot be read.
            SealError: It is not what this device kept.
        """
        document, environment = self._document, self._environment
        sealed = await environment.store.records(document.document)
        document.keyring.load(
            {
                name: open_record(
                    environment.storage_key, RECORD_LABEL, document.document + name, value
                )
                for name, value in sealed.items()
            }
        )

    def keep(self, records: Records) -> None:
        """Keep records with the next operations that are stored."""
        self._records |= records

    def take_records(self) -> dict[bytes, bytes | None]:
        """Give what changed, sealed, to be stored with the operations that changed it."""
        changed, self._records = self._records, {}
        return {
            name: None if plain is None else self._seal(name, plain)
            for name, plain in changed.items()
        }

    def _seal(self, name: bytes, plain: bytes) -> bytes:
        environment = self._environment
        return seal_record(
            environment.storage_key,
            RECORD_LABEL,
            self._document.document + name,
            plain,
            nonce=environment.entropy.draw(NONCE_BYTES),
        )

    # -- Taking --

    @property
    def is_ready(self) -> bool:
        """Whether we have been given what our role is due: a reader at least one secret."""
        role = self._document.role
        return role is not None and (role < Role.READ or bool(self._document.keyring.secrets))

    @property
    def is_reading(self) -> bool:
        """Whether we may read, and have been given what it takes."""
        return (self._document.role or 0) >= Role.READ and self.is_ready

    async def take(self, operations: Iterable[Operation]) -> None:
        """Open what operations bring us; what does not open is asked for again."""
        for operation in operations:
            if operation.extension.kind == Kind.SECRET_DISTRIBUTION and (
                operation.author != self._own
            ):
                body = decode_body(Kind.SECRET_DISTRIBUTION, operation.body)
                assert isinstance(body, SecretDistribution)
                message = body.parcel_for(self._own)
                if message is not None:
                    await self._open(operation, body, message)

    async def _open(self, operation: Operation, body: SecretDistribution, message: bytes) -> None:
        keyring, log = self._document.keyring, operation.root
        context = pairwise_context(self._document.document, log.log_id, self._own)
        try:
            opened = await self._environment.pairwise.open(
                log.author, keyring.incoming.get(log), keyring.prekeys, message, context=context
            )
            contents = Contents.decode(opened.plain)
        except (PairwiseError, CodecError, SealError) as error:
            logger.warning(
                "courier.not_opened", extra={"peer": log.author.short, "code": error.code}
            )
            return
        self.keep(keyring.keep_incoming(log, opened.session))
        for secret in contents.secrets:
            if secret.secret_id in body.secrets and secret.secret_id not in keyring.secrets:
                self.keep(keyring.add_secret(secret))
                self._has_fresh = True
        if not contents.secrets:
            for secret_id, key in zip(body.secrets, contents.discovery_keys, strict=False):
                if secret_id not in keyring.discovery_keys:
                    self.keep(keyring.add_discovery_key(secret_id, key))

    def take_fresh(self) -> bool:
        """Whether secrets came since this was last asked: what waits for them may go on."""
        fresh, self._has_fresh = self._has_fresh, False
        return fresh

    # -- What is to be done --

    def present(self, peer: PeerId, prekey: Prekey) -> None:
        """Note the prekey that a joiner brought, until it publishes one."""
        self._presented[peer] = prekey
        self._seen = None

    def rotate(self) -> None:
        """Make a new secret at the next opportunity, whether or not one is owed."""
        self._is_rotation_asked = True
        self._seen = None

    def pay_at_once(self) -> None:
        """Do not wait for others to pay what a change of membership by us leaves owing."""
        self._pays_at_once = True
        self._seen = None

    @property
    def owes_secret(self) -> bool:
        """Whether a new secret is due, and ours to make."""
        return self._document.may_write and self._document.current_secret() is None

    def due(self, now: float) -> float:
        """Say when `prepare` has something to write."""
        if self._document.role is None or self._document.ledger.read_only_reason is not None:
            return NEVER
        if self._refused == self._document.ledger.control_count:
            return NEVER
        self._look(now)
        if self._document.needs_secret:
            return now
        return min(self._rotate_due, self._notice_due, *(due for due, _ in self._gifts))

    def is_due(self) -> bool:
        """Whether it has something to write now."""
        now = self._environment.clock.now() + INSTANT_S
        return self.due(now) <= now

    def _look(self, now: float) -> None:
        """See what is owed, where something has changed since the last time."""
        ledger, keyring = self._document.ledger, self._document.keyring
        is_blocked = self._document.replica.is_blocked
        counts = ledger.control_count, len(keyring.secrets), int(now / DAY_S)
        seen = *counts, is_blocked, self._document.replica  # another has read other things
        if seen == self._seen:
            return
        self._seen = seen
        members = ledger.membership.members()
        noticed: dict[bytes, float] = {}
        self._gifts = []
        for gift in owed(ledger, self._own, self._givable()):
            for peer in (*gift.readers, *gift.pullers):
                noticed[peer] = self._noticed.get(peer, now)
            self._gifts += self._turns(gift, noticed)
        self._rotate_due = NEVER
        if self._document.role in (Role.WRITE, Role.MANAGE):
            if self._is_rotation_asked:
                self._rotate_due = now
            elif self._document.current_secret() is None:
                noticed[ROTATION] = self._noticed.get(ROTATION, now)
                turn = (
                    0 if self._pays_at_once else min(rank(members, self._own, ROTATION), TURNS_MAX)
                )
                self._rotate_due = noticed[ROTATION] + turn * TURN_S
        self._notice_due = self._when_to_publish(now)
        self._noticed = noticed

    def _givable(self) -> Collection[SecretId]:
        """Give the secrets that we hold and may give: those of which we have read.

        To give another would be to announce it, which takes a writer; and who does not hear who announced it before,
        would take it for ours, though its maker was removed.
        """
        document, announcements = self._document, self._document.ledger.announcements
        past, held = document.replica.seen(document.author.control_log), document.keyring.secrets
        return {secret for secret in held if announcements.is_announced(secret, past)}

    def _turns(self, gift: Gift, noticed: dict[bytes, float]) -> list[tuple[float, Gift]]:
        """Cut a gift up by when its parts are our turn; who has no prekey cannot be given anything yet."""
        by_due: dict[float, list[PeerId]] = {}
        is_for_readers = bool(gift.readers)  # else for pullers: never both
        given = {(secret, is_for_readers) for secret in gift.secrets}
        for peer in (*gift.readers, *gift.pullers):
            if self._prekey_of(peer) is not None and not given <= self._given_since(peer):
                by_due.setdefault(noticed[peer] + self._turn(peer) * TURN_S, []).append(peer)
        return [
            (
                due,
                Gift(
                    secrets=gift.secrets,
                    readers=tuple(peer for peer in gift.readers if peer in peers),
                    pullers=tuple(peer for peer in gift.pullers if peer in peers),
                ),
            )
            for due, peers in sorted(by_due.items())
        ]

    def _given_since(self, peer: PeerId) -> set[Given]:
        """Give what we gave a device since it asked last, to be added to."""
        published = self._document.ledger.announcements.prekeys.get(peer)
        if published is None:
            return set()
        if peer not in self._answered or self._answered[peer][0] != published.place:
            self._answered[peer] = published.place, set()
        return self._answered[peer][1]

    def _turn(self, peer: PeerId) -> int:
        ledger = self._document.ledger
        addition = ledger.announcements.additions.get(peer)
        if addition is not None and ledger.log_in(addition[1].slot).key.author == self._own:
            return 0
        return 1 + min(rank(ledger.membership.members(), self._own, bytes(peer)), TURNS_MAX)

    def _prekey_of(self, peer: PeerId) -> Prekey | None:
        now_us = self._environment.clock.timestamp_us()
        published = usable_prekey(self._document.ledger, peer, now_us=now_us)
        presented = self._presented.get(peer)
        usable = published
        if published is None and presented is not None and presented.expires_us > now_us:
            usable = presented
        is_useless = usable is not None and self._unreachable.get(peer) == usable.public
        return None if is_useless else usable

    def _missing(self) -> tuple[SecretId, ...]:
        return missing(self._document.ledger, self._own, self._document.keyring)

    def _when_to_publish(self, now: float) -> float:
        """Say when we have to publish a prekey: to be reachable at all, and to ask for what did not open."""
        published = self._document.ledger.announcements.prekeys.get(self._own)
        if published is None:
            return now
        lasts_us = published.prekey.expires_us - self._environment.clock.timestamp_us()
        renew_at = now + lasts_us / 1e6 - limits.PREKEY_RENEW_S
        lacked = self._missing()
        if not lacked:
            self._asked_count = 0
            return renew_at
        if not set(lacked) <= set(published.missing):
            # Whoever gives what does not open, at will, must not have each of us write as often, and more than it did.
            return max(now, self._asked_at + ASK_AGAIN_S)
        pause: float = min(ASK_AGAIN_S * 2.0 ** min(self._asked_count, 16), ASK_AGAIN_S_MAX)
        return min(renew_at, max(now, self._asked_at + pause))

    # -- Giving --

    async def prepare(self) -> bool:
        """Stage what is due, and say whether anything is; it has to be stored before content that builds on it."""
        now = self._environment.clock.now() + INSTANT_S
        if self.due(now) > now:
            return False
        try:
            await self._stage_due(now)
        except NotPermittedError as error:
            # Nobody would take it: better to owe it than to store it.
            self._refused = self._document.ledger.control_count
            logger.error("courier.not_written", extra={"reason": str(error)})  # noqa: TRY400 - no stack helps
        self._seen = None
        return bool(self._document.author.staged)

    async def _stage_due(self, now: float) -> None:
        if self._notice_due <= now:
            self._publish_prekey(now)
        elif self._document.needs_secret or self._rotate_due <= now:
            await self._make_secret()
        else:
            for due, gift in self._gifts:
                if due <= now:
                    await self._give(gift, announces=False)

    def _publish_prekey(self, now: float) -> None:
        document, clock = self._document, self._environment.clock
        published = document.ledger.announcements.prekeys.get(self._own)
        pair = document.keyring.latest_prekey
        if pair is None or published is not None:
            pair = new_prekey(
                self._environment.key,
                now_us=clock.timestamp_us(),
                entropy=self._environment.entropy,
            )
            self.keep(document.keyring.add_prekey(pair))
        lacked = self._missing()
        if lacked:
            self._asked_count, self._asked_at = self._asked_count + 1, now
        self._write(Kind.PREKEY, PrekeyNotice(prekey=pair.prekey, missing=lacked))

    async def _make_secret(self) -> None:
        """Make a secret, and give it to every other member that can be given anything."""
        document = self._document
        secret = DocumentSecret(self._environment.entropy.draw(SECRET_BYTES))
        self.keep(document.keyring.add_secret(secret))
        self._is_rotation_asked = self._pays_at_once = False
        gift = rotation(document.ledger, self._own, secret.secret_id)
        await self._give(gift, announces=True)

    async def _give(self, gift: Gift, *, announces: bool) -> None:
        """Write as many distributions as a gift takes; what announces a secret also where nobody can be given it."""
        keyring = self._document.keyring
        secrets = tuple(keyring.secrets[secret_id] for secret_id in gift.secrets)
        keys = tuple(keyring.discovery_keys[secret_id] for secret_id in gift.secrets)
        readers = await self._parcels(gift.readers, Contents(secrets=secrets).encode())
        pullers = await self._parcels(gift.pullers, Contents(discovery_keys=keys).encode())
        while readers or pullers or announces:
            some, readers = _cut(readers)
            others, pullers = _cut(pullers) if not readers else ([], pullers)
            body = SecretDistribution(
                secrets=gift.secrets, readers=tuple(some), pullers=tuple(others)
            )
            self._write(Kind.SECRET_DISTRIBUTION, body)
            for is_reader, parcels in ((True, some), (False, others)):
                for peer, _ in parcels:
                    self._given_since(peer).update((secret, is_reader) for secret in gift.secrets)
            announces = False

    async def _parcels(self, peers: Sequence[PeerId], plain: bytes) -> list[Parcel]:
        parcels = []
        for peer in peers:
            prekey = self._prekey_of(peer)
            if prekey is None:
                continue
            try:
                parcels.append((peer, await self._pack(peer, prekey, plain)))
            except PairwiseError as error:  # its own keys are at fault: it can be given nothing
                self._unreachable[peer] = prekey.public
                logger.warning("courier.not_sealed", extra={"peer": peer.short, "code": error.code})
        return parcels

    async def _pack(self, peer: PeerId, prekey: Prekey, plain: bytes) -> bytes:
        document, pairwise = self._document, self._environment.pairwise
        log_id = document.author.control_log.log_id
        context = pairwise_context(document.document, log_id, peer)
        session = document.keyring.outgoing.get((log_id, peer))
        if session is not None and session.prekey == prekey.public:
            sealed = await pairwise.seal(session.state, plain, context=context)
        else:
            sealed = await pairwise.start(peer, prekey, plain, context=context)
        moved = OutgoingSession(prekey=prekey.public, state=sealed.session)
        self.keep(document.keyring.keep_outgoing(log_id, peer, moved))
        return sealed.message

    def _write(self, kind: Kind, body: PrekeyNotice | SecretDistribution) -> None:
        environment = self._environment
        now_us = environment.clock.timestamp_us()
        self._document.write_control(kind, body, now_us=now_us, entropy=environment.entropy)


def _cut(parcels: list[Parcel]) -> tuple[list[Parcel], list[Parcel]]:
    """Take as many messages as one operation holds."""
    size = 0
    for count, (_, message) in enumerate(parcels):
        size += len(message) + PeerId.LENGTH + 8
        if count and (
            size > limits.GIFT_BYTES_MAX or count >= limits.RECIPIENTS_PER_DISTRIBUTION_MAX
        ):
            return parcels[:count], parcels[count:]
    return parcels, []
