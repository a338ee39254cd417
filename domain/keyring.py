"""What a device keeps secret about one document: its secrets, its prekeys, its pairwise sessions.

Each is a record of its own, kept sealed under the storage key, so that one that changes is stored together with the
operation that changed it, and no other is touched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from domain import codec, limits
from domain.codec import CodecError
from domain.errors import IdentifierError, SealError, StorageCorruptError
from domain.identifiers import LogId, LogKey, PeerId, SecretId
from domain.prekey import PrekeyPair
from domain.sealing import DocumentSecret

DISCOVERY_KEY_BYTES: Final = 32
_SECRET: Final = b"secret"
_DISCOVERY: Final = b"discovery"
_PREKEY: Final = b"prekey"
_OUTGOING: Final = b"to"
_INCOMING: Final = b"from"

Records = dict[bytes, bytes | None]
"""Records by their names, in clear (seal them); None where one is to be deleted."""


def discovery_key(secret: DocumentSecret) -> bytes:
    """Derive what tells members where they meet, and nothing about what they write."""
    return blake3(secret.key, derive_key_context="culm discovery key v1").digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingSession:
    """A session to one device, from one control log of ours, and the prekey that it began with."""

    prekey: bytes
    state: bytes = field(repr=False)


@dataclass(slots=True)
class Keyring:
    """Everything secret about one document; its `repr` shows names alone.

    Args:
        secrets: The secrets that we hold, by their ids.
        discovery_keys: By the ids of the secrets that they go with; of readers and of who may only pull.
        prekeys: Our prekeys by their public halves, the latest last.
        outgoing: Our sessions, by our control log and the recipient.
        incoming: Others' sessions to us, by their control logs.
    """

    secrets: dict[SecretId, DocumentSecret] = field(default_factory=dict)
    discovery_keys: dict[SecretId, bytes] = field(default_factory=dict, repr=False)
    prekeys: dict[bytes, PrekeyPair] = field(default_factory=dict, repr=False)
    outgoing: dict[tuple[LogId, PeerId], OutgoingSession] = field(default_factory=dict, repr=False)
    incoming: dict[LogKey, bytes] = field(default_factory=dict, repr=False)

    def add_secret(self, secret: DocumentSecret) -> Records:
        """Hold a secret, and give the record to keep."""
        self.secrets[secret.secret_id] = secret
        self.discovery_keys[secret.secret_id] = discovery_key(secret)
        return {_SECRET + secret.secret_id: secret.key}

    def add_discovery_key(self, secret_id: SecretId, key: bytes) -> Records:
        """Hold the discovery key that goes with a secret which we do not hold."""
        self.discovery_keys[secret_id] = key
        return {_DISCOVERY + secret_id: key}

    def add_prekey(self, pair: PrekeyPair) -> Records:
        """Hold a prekey, and let go of the oldest where there are too many."""
        self.prekeys[pair.prekey.public] = pair
        records: Records = {_PREKEY + pair.prekey.public: codec.encode(pair.value())}
        oldest_first = sorted(self.prekeys.values(), key=lambda each: each.prekey.expires_us)
        for old in oldest_first[: -limits.PREKEYS_KEPT_MAX]:
            del self.prekeys[old.prekey.public]
            records[_PREKEY + old.prekey.public] = None
        return records

    def keep_outgoing(self, log_id: LogId, peer: PeerId, session: OutgoingSession) -> Records:
        """Hold a session of ours as it is now."""
        self.outgoing[log_id, peer] = session
        value = codec.encode((log_id, peer, session.prekey, session.state))
        return {_OUTGOING + log_id + peer: value}

    def keep_incoming(self, log: LogKey, state: bytes) -> Records:
        """Hold a session to us as it is now."""
        self.incoming[log] = state
        return {_INCOMING + log.author + log.log_id: codec.encode((*log, state))}

    def everything(self) -> Records:
        """Give all records, for a device that is new to the document."""
        records: Records = {}
        for secret in tuple(self.secrets.values()):
            records |= self.add_secret(secret)
        for pair in tuple(self.prekeys.values()):
            records |= self.add_prekey(pair)
        return records

    def load(self, records: Mapping[bytes, bytes]) -> None:
        """Take in the records that were kept.

        Raises:
            StorageCorruptError: They are something else.
        """
        try:
            for name, value in records.items():
                self._load_one(name, value)
        except (CodecError, IdentifierError, SealError, ValueError):
            raise StorageCorruptError("a secret record of a document cannot be read") from None

    def _load_one(self, name: bytes, value: bytes) -> None:
        bound = limits.CONTROL_BODY_BYTES_MAX
        if name.startswith(_SECRET):
            self.add_secret(DocumentSecret(value))
        elif name.startswith(_DISCOVERY):
            secret_id = SecretId(name.removeprefix(_DISCOVERY))
            self.discovery_keys.setdefault(
                secret_id, codec.take_bytes(value, minimum=32, maximum=DISCOVERY_KEY_BYTES)
            )
        elif name.startswith(_PREKEY):
            pair = PrekeyPair.from_value(codec.decode_array(value, bytes_max=bound))
            self.prekeys[pair.prekey.public] = pair
        elif name.startswith(_OUTGOING):
            log_id, peer, prekey, state = codec.decode_array(value, bytes_max=bound)
            self.outgoing[
                LogId(codec.take_bytes(log_id, maximum=32)),
                PeerId(codec.take_bytes(peer, maximum=32)),
            ] = OutgoingSession(
                prekey=codec.take_bytes(prekey, maximum=32),
                state=codec.take_bytes(state, maximum=bound),
            )
        elif name.startswith(_INCOMING):
            author, log_id, state = codec.decode_array(value, bytes_max=bound)
            log = LogKey(
                PeerId(codec.take_bytes(author, maximum=32)),
                LogId(codec.take_bytes(log_id, maximum=32)),
            )
            self.incoming[log] = codec.take_bytes(state, maximum=bound)
        else:
            raise StorageCorruptError("a secret record of a document has an unknown name")

    @property
    def latest_prekey(self) -> PrekeyPair | None:
        """Our prekey that lasts longest."""
        return max(self.prekeys.values(), key=lambda pair: pair.prekey.expires_us, default=None)
