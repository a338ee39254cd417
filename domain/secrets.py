"""Who seals with which secret, and who is owed one: rules over what a replica has.

A secret is *clean* while nobody who holds it may no longer read. Content is sealed under the causally latest clean
secret; a writer that finds none makes one, so whoever writes next pays what a removal left owing. What a member was
never given, or asks for again, any holder gives it. Two that do so at once do no harm: a member takes both.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest

from blake3 import blake3

from domain.identifiers import PeerId, SecretId
from domain.keyring import Keyring
from domain.ledger.ledger import Ledger
from domain.ledger.reach import Vector
from domain.limits import MEETING_KEYS_MAX, SECRETS_PER_DISTRIBUTION_MAX
from domain.operations.control import Role
from domain.prekey import Prekey
from domain.sealing import DocumentSecret


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """Secrets that one distribution gives: to readers themselves, to who may only pull their discovery keys."""

    secrets: tuple[SecretId, ...]
    readers: tuple[PeerId, ...]
    pullers: tuple[PeerId, ...] = ()


def current_secret(ledger: Ledger, held: Collection[SecretId]) -> SecretId | None:
    """Give the secret to seal with: of the clean ones that we hold, the causally latest."""
    announcements, role = ledger.announcements, ledger.membership.role
    clean = [secret for secret in held if announcements.is_clean(secret, role)]
    return announcements.newest(clean, ledger.past_at)


class SecretInUse:
    """The secret that seals what we write next; found anew only where something has changed.

    Args:
        ledger: What is in.
        held: The secrets that we hold.
        past: Gives the causal past that our next operation will have. What is sealed under a secret that this past does
            not name, everybody refuses: we hold such a one where its announcement builds on what we cannot read yet.
    """

    def __init__(
        self, ledger: Ledger, held: Mapping[SecretId, DocumentSecret], past: Callable[[], Vector]
    ) -> None:
        self._ledger = ledger
        self._held = held
        self._past = past
        self._found: tuple[tuple[int, int], DocumentSecret | None] | None = None

    def get(self) -> DocumentSecret | None:
        """Give it; None where we hold no clean one that we can name."""
        state = self._ledger.control_count, len(self._held)
        if self._found is not None and self._found[0] == state:
            return self._found[1]
        newest = current_secret(self._ledger, self._held)
        past, announcements = self._past(), self._ledger.announcements
        if newest is None or announcements.is_announced(newest, past):
            secret = self._held[newest] if newest is not None else None
            self._found = state, secret
            return secret
        named = [each for each in self._held if announcements.is_announced(each, past)]
        found = current_secret(self._ledger, named)
        return self._held[found] if found is not None else None


def meeting_keys(ledger: Ledger, held: Mapping[SecretId, bytes]) -> tuple[bytes, ...]:
    """List the discovery keys by which members find each other: that of the secret in use first, then older ones."""
    newest, past_at = ledger.announcements.newest, ledger.past_at
    found: list[SecretId] = []
    following = current_secret(ledger, held.keys()) or newest(held, past_at)
    while following is not None and len(found) < MEETING_KEYS_MAX:
        found.append(following)
        following = newest(held.keys() - set(found), past_at)
    return tuple(held[secret] for secret in found)


def rotation(ledger: Ledger, own: PeerId, secret: SecretId) -> Gift:
    """Say to whom a new secret of ours goes: to every other member."""
    members = ledger.membership.members()
    others = sorted(peer for peer in members if peer != own)
    return Gift(
        secrets=(secret,),
        readers=tuple(peer for peer in others if members[peer] >= Role.READ),
        pullers=tuple(peer for peer in others if members[peer] < Role.READ),
    )


def owed(ledger: Ledger, own: PeerId, held: Collection[SecretId]) -> list[Gift]:
    """List what members lack and we hold and may give; members that lack the same are served together."""
    announcements, members = ledger.announcements, ledger.membership.members()
    if members.get(own, Role.PULL) < Role.READ:
        return []
    current, ours = current_secret(ledger, held), sorted(held)
    readers: dict[tuple[SecretId, ...], list[PeerId]] = {}
    pullers: list[PeerId] = []
    for peer, role in sorted(members.items()):
        if peer == own:
            continue
        if role >= Role.READ:
            # Of those that we hold alone: others may announce any number that nobody has.
            given = [one for one in ours if announcements.is_lacked_by(peer, one, ledger.past_at)]
            for first in range(0, len(given), SECRETS_PER_DISTRIBUTION_MAX):
                some = tuple(given[first : first + SECRETS_PER_DISTRIBUTION_MAX])
                readers.setdefault(some, []).append(peer)
        elif current is not None and announcements.lacks_discovery_key(
            peer, current, ledger.past_at
        ):
            pullers.append(peer)
    gifts = [
        Gift(secrets=secrets, readers=tuple(peers)) for secrets, peers in sorted(readers.items())
    ]
    if current is not None and pullers:
        gifts.append(Gift(secrets=(current,), readers=(), pullers=tuple(pullers)))
    return gifts


def missing(ledger: Ledger, own: PeerId, keyring: Keyring) -> tuple[SecretId, ...]:
    """List secrets that we were given and do not hold, since the message did not open: as many as a notice names.

    Ascending. Who may not read asks for the discovery key of what is in use now: that is where others meet. There may
    be any number that nobody holds, so those of all who announced some come in turn, the latest first.
    """
    announcements, held = ledger.announcements, keyring.secrets
    if (ledger.membership.role(own) or Role.PULL) < Role.READ:
        current = current_secret(ledger, announcements.secrets.keys())
        if current is None or current in keyring.discovery_keys:
            return ()
        return (current,) if own in announcements.secrets[current].pullers else ()
    lacked: dict[PeerId, list[SecretId]] = {}
    for secret, history in reversed(announcements.secrets.items()):
        if secret not in held and history.is_held_by(own):
            for _, author in history.announced:
                lacked.setdefault(author, []).append(secret)
    in_turn = chain.from_iterable(zip_longest(*lacked.values()))
    asked = [secret for secret in dict.fromkeys(in_turn) if secret is not None]
    return tuple(sorted(asked[:SECRETS_PER_DISTRIBUTION_MAX]))


def rank(members: Mapping[PeerId, Role], own: PeerId, matter: bytes) -> int:
    """Say how many members should see to a matter before us; another order for each matter."""
    readers = (peer for peer, role in members.items() if role >= Role.READ)
    ordered = sorted(readers, key=lambda peer: blake3(matter + peer).digest())
    return ordered.index(own) if own in ordered else len(ordered)


def usable_prekey(ledger: Ledger, peer: PeerId, *, now_us: int) -> Prekey | None:
    """Find the prekey to seal for a device with; None where it has none that is still good."""
    published = ledger.announcements.prekeys.get(peer)
    if published is None or published.prekey.expires_us <= now_us:
        return None
    return published.prekey
