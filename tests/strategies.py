"""The Hypothesis strategies that tests share: values of the domain, valid ones unless the name says otherwise."""

import random
from typing import Any, Final

from hypothesis import strategies as st

from domain import limits
from domain.codec import Value
from domain.identifiers import (
    DocumentId,
    LogId,
    LogKey,
    OperationId,
    PeerId,
    Position,
    SecretId,
)
from domain.identity import SEED_BYTES, SIGNATURE_BYTES, DeviceKey
from domain.ledger.ledger import Height
from domain.operations.control import (
    Add,
    Claim,
    ControlBody,
    Genesis,
    InviteTerms,
    Leave,
    Remove,
    Role,
    SetRole,
)
from domain.operations.distribution import PrekeyNotice, SecretDistribution
from domain.operations.kind import KIND_MAX
from domain.operations.operation import BasicExtension, Extension, Operation, sign
from domain.ports.environment import Entropy
from domain.prekey import Prekey
from domain.sync.message import (
    REASON_BYTES_MAX,
    Ack,
    BodyPart,
    CompactOperation,
    Digests,
    Done,
    Have,
    Heartbeat,
    Join,
    JoinPending,
    JoinRefused,
    Message,
    Nack,
    PreSync,
)

ID_BYTES: Final = 32


class SeededEntropy(Entropy):
    """Bytes that depend on a seed alone."""

    def __init__(self, seed: object) -> None:
        self._random = random.Random(repr(seed))

    def draw(self, count: int) -> bytes:
        return self._random.randbytes(count)


def key(number: int) -> DeviceKey:
    """The key of test device `number`."""
    return DeviceKey(number.to_bytes(SEED_BYTES, "big"))


def some_bytes(length: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length)


seeds: Final = st.integers(0, 2**32 - 1)
"""For `random.Random`, where a test makes a whole history."""
keys: Final = st.integers(1, 5).map(key)
document_ids: Final = some_bytes(ID_BYTES).map(DocumentId)
log_ids: Final = some_bytes(ID_BYTES).map(LogId)
operation_ids: Final = some_bytes(ID_BYTES).map(OperationId)
peer_ids: Final = some_bytes(ID_BYTES).map(PeerId)
secret_ids: Final = some_bytes(ID_BYTES).map(SecretId)
signatures: Final = some_bytes(SIGNATURE_BYTES)
timestamps: Final = st.integers(0, limits.TIMESTAMP_MAX)
seq_nums: Final = st.integers(0, limits.SEQ_NUM_MAX)
log_keys: Final = st.builds(LogKey, peer_ids, log_ids)
positions: Final = st.builds(Position, log_keys, seq_nums)
heights: Final = st.builds(Height, count=seq_nums.map(lambda n: n + 1), tip=operation_ids)
texts: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
previous: Final = st.sets(operation_ids, max_size=4).map(lambda ids: tuple(sorted(ids)))

codec_values: Final[st.SearchStrategy[Value]] = st.recursive(
    st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=300) | texts | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)

extensions: Final = st.builds(
    Extension,
    log_id=log_ids,
    timestamp=timestamps,
    prune=st.booleans(),
    kind=st.integers(0, KIND_MAX),
    document=st.none() | document_ids,
    previous=previous,
    secret=st.none() | secret_ids,
)
basic_extensions: Final = st.builds(
    BasicExtension, log_id=log_ids, timestamp=timestamps, prune=st.booleans()
)
bodies: Final = st.binary(max_size=200)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    """A signed operation that is well formed; no ledger need accept it."""
    body = draw(bodies)
    seq_num = draw(st.integers(0, 3) | seq_nums)
    header = sign(
        draw(keys),
        seq_num=seq_num,
        backlink=draw(operation_ids) if seq_num else None,
        extension=draw(extensions),
        body=body,
    )
    return Operation.assemble(header, body)


prekeys: Final = st.builds(
    Prekey, public=some_bytes(32), expires_us=timestamps, signature=signatures
)
ascending_secrets: Final = st.sets(secret_ids, min_size=1, max_size=3).map(
    lambda ids: tuple(sorted(ids))
)
parcels: Final = st.dictionaries(peer_ids, st.binary(min_size=1, max_size=40), max_size=3).map(
    lambda entries: tuple(sorted(entries.items()))
)
control_bodies: Final[st.SearchStrategy[ControlBody]] = st.one_of(
    st.builds(Genesis, format=st.integers(0, 2**16 - 1)),
    st.builds(
        InviteTerms,
        key=peer_ids,
        role=st.sampled_from(Role),
        expires_us=timestamps,
        uses=st.integers(1, limits.INVITE_USES_MAX),
        confirm=st.booleans(),
        person=st.none() | peer_ids,
    ),
    st.builds(
        Add,
        member=peer_ids,
        role=st.sampled_from(Role),
        invite=operation_ids,
        prekey_hash=st.none() | some_bytes(ID_BYTES),
        proof=signatures,
    ),
    st.builds(Remove, member=peer_ids),
    st.builds(SetRole, member=peer_ids, role=st.sampled_from(Role)),
    st.just(Leave()),
    st.builds(PrekeyNotice, prekey=prekeys, missing=ascending_secrets | st.just(())),
    st.builds(SecretDistribution, secrets=ascending_secrets, readers=parcels, pullers=parcels),
    st.builds(
        Claim,
        log_id=log_ids,
        clients=st.sets(st.integers(0, limits.CLIENT_ID_MAX), min_size=1, max_size=5).map(
            lambda clients: tuple(sorted(clients))
        ),
    ),
)

log_references: Final[st.SearchStrategy[Any]] = st.integers(0, limits.HAVE_LOGS_MAX) | log_keys
reasons: Final = texts.filter(lambda text: len(text.encode()) <= REASON_BYTES_MAX)


def _tuples(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=5).map(tuple)


messages: Final[st.SearchStrategy[Message]] = st.one_of(
    st.builds(Have, is_last=st.booleans(), heights=_tuples(st.tuples(log_references, heights))),
    st.builds(PreSync, operations=st.integers(0, 2**32)),
    st.builds(
        CompactOperation,
        log=log_references,
        seq_num=seq_nums,
        signature=signatures,
        timestamp=timestamps,
        kind=st.integers(0, KIND_MAX),
        prune=st.booleans(),
        backlink=st.none() | operation_ids,
        previous=previous,
        secret=st.none() | secret_ids,
        body=bodies | st.integers(limits.BODY_PART_BYTES_MAX + 1, limits.BODY_BYTES_MAX),
    ),
    st.builds(BodyPart, data=st.binary(min_size=1, max_size=300)),
    st.builds(Done, exchange=st.integers(0, 2**32)),
    st.builds(Ack, counts=_tuples(st.tuples(log_references, seq_nums))),
    st.builds(Nack, log=log_references, seq_num=seq_nums, reason=reasons),
    st.builds(Join, invite_key=peer_ids, prekey=prekeys, proof=signatures),
    st.builds(JoinRefused, reason=reasons),
    st.builds(JoinPending, nonce=some_bytes(16)),
    st.builds(Heartbeat, number=st.integers(0, 2**32), is_answer=st.booleans()),
    st.builds(Digests, entries=_tuples(st.tuples(some_bytes(32), some_bytes(32)))),
)
