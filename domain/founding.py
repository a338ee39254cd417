"""New documents: founding one, and what a device needs for one that is new to it."""

from domain import limits
from domain.authorship import write_genesis
from domain.document import Document
from domain.identifiers import DocumentId, LogId
from domain.identity import DeviceKey
from domain.keyring import Keyring
from domain.operations.control import Genesis
from domain.operations.distribution import PrekeyNotice, SecretDistribution
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from domain.ports.environment import Entropy
from domain.prekey import PREKEY_BYTES, PrekeyPair, make_prekey
from domain.record import DocumentRecord
from domain.sealing import SECRET_BYTES, DocumentSecret


def found(
    key: DeviceKey, name: str, *, now_us: int, entropy: Entropy
) -> tuple[Document, list[Operation]]:
    """Found a document: genesis, its first secret, our prekey; all have to be stored before anything else.

    Args:
        key: Our device key; it will manage the document.
        name: What people call it.
        now_us: Microseconds since 1970.
        entropy: Draws the ids of our logs, the first secret, and the prekey.
    """
    record, keyring = new_record(name, entropy), Keyring()
    secret = DocumentSecret(entropy.draw(SECRET_BYTES))
    keyring.add_secret(secret)
    pair = new_prekey(key, now_us=now_us, entropy=entropy)
    keyring.add_prekey(pair)
    genesis = write_genesis(key, record.control_log, Genesis(), now_us=now_us)
    document = Document(key, DocumentId(genesis.operation_id), record, keyring)
    document.replay([genesis])
    document.open_ydoc()
    for kind, body in (
        (Kind.SECRET_DISTRIBUTION, SecretDistribution(secrets=(secret.secret_id,))),
        (Kind.PREKEY, PrekeyNotice(prekey=pair.prekey)),
    ):
        document.write_control(kind, body, now_us=now_us, entropy=entropy)
    operations = [entry.operation for entry in document.author.staged]
    document.settle(operations)
    return document, [genesis, *operations]


def new_record(name: str, entropy: Entropy) -> DocumentRecord:
    """Make the record of a document that is new to this device, with two fresh logs."""
    return DocumentRecord(
        name=name,
        control_log=LogId(entropy.draw(LogId.LENGTH)),
        content_log=LogId(entropy.draw(LogId.LENGTH)),
    )


def new_prekey(key: DeviceKey, *, now_us: int, entropy: Entropy) -> PrekeyPair:
    """Make a prekey that lasts for 84 days."""
    expires_us = now_us + int(limits.PREKEY_LIFE_S * 1e6)
    return make_prekey(key, entropy.draw(PREKEY_BYTES), expires_us=expires_us)
