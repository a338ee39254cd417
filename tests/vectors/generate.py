"""Makes the byte vectors of culm's formats again; run as `python -m tests.vectors.generate`.

Deterministic: every key, nonce and time below is fixed, so whoever changes a format sees it in the diff of the vectors.
`p2panda-operations.json` is not made here: it is p2panda's own.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from domain.identifiers import DocumentId, LogId, LogKey, OperationId, Position
from domain.identity import DeviceKey, Label
from domain.invite import Invite
from domain.ledger.branch import branch_client, branch_of
from domain.ledger.claim import client_id
from domain.ledger.gate import Gate
from domain.ledger.ledger import Height, Ledger
from domain.operations.control import (
    Add,
    Claim,
    Genesis,
    InviteTerms,
    Role,
    encode_body,
    join_statement,
)
from domain.operations.kind import Kind
from domain.operations.operation import (
    AnyExtension,
    BasicExtension,
    Extension,
    Operation,
    sign,
)
from domain.prekey import make_prekey
from domain.sealing import NONCE_BYTES, DocumentSecret, seal_body, seal_record
from domain.sync.frontier import channel_name, digest
from domain.sync.message import (
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
    encode_message,
)
from tests.domain.ledger.cases import CASES, Case

FOLDER: Final = Path(__file__).parent
FOUNDER: Final = DeviceKey(bytes([1]) * 32)
MEMBER: Final = DeviceKey(bytes([2]) * 32)
INVITE_KEY: Final = DeviceKey(bytes([3]) * 32)
SECRET: Final = DocumentSecret(bytes([4]) * 32)
STORAGE_KEY: Final = bytes([5]) * 32
NONCE: Final = bytes(range(NONCE_BYTES))
CONTROL_LOG: Final = LogId(bytes([16]) * 32)
CONTENT_LOG: Final = LogId(bytes([17]) * 32)
BINDING: Final = bytes([18]) * 64
TIME_US: Final = 1_790_000_000_000_000
PREKEY: Final = make_prekey(MEMBER, bytes([6]) * 32, expires_us=TIME_US).prekey
UPDATE: Final = bytes.fromhex("010106000401047465787402686900")  # client 6 writes "hi" into `text`


def operation(
    seq_num: int, backlink: OperationId | None, extension: Extension, body: bytes
) -> Operation:
    header = sign(FOUNDER, seq_num=seq_num, backlink=backlink, extension=extension, body=body)
    return Operation.assemble(header, body)


def control(
    seq_num: int, after: Operation, kind: Kind, body: bytes, *, previous: tuple[OperationId, ...]
) -> Operation:
    extension = Extension(
        log_id=CONTROL_LOG, timestamp=TIME_US + seq_num, kind=kind, previous=previous
    )
    return operation(seq_num, after.operation_id, extension, body)


def content(document: DocumentId, seq_num: int, **fields: Any) -> Extension:  # noqa: ANN401 - fields of several types
    return Extension(
        log_id=CONTENT_LOG,
        timestamp=TIME_US + seq_num,
        kind=Kind.UPDATE,
        document=document if seq_num == 0 or fields.get("prune") else None,
        **fields,
    )


def sealed(document: DocumentId, seq_num: int) -> bytes:
    place = Position(LogKey(FOUNDER.peer, CONTENT_LOG), seq_num)
    return seal_body(SECRET, document, place, Kind.UPDATE, UPDATE, nonce=NONCE)


def culm_operations() -> dict[str, Operation]:
    """Operations of one document with every form of the header."""
    made: dict[str, Operation] = {}
    genesis = Extension(log_id=CONTROL_LOG, timestamp=TIME_US, kind=Kind.GENESIS)
    made["genesis"] = root = operation(0, None, genesis, encode_body(Genesis()))
    document = DocumentId(root.operation_id)
    terms = InviteTerms(key=INVITE_KEY.peer, role=Role.WRITE, expires_us=TIME_US * 2, uses=3)
    made["invite"] = invite = control(1, root, Kind.INVITE, encode_body(terms), previous=())
    statement = join_statement(document, MEMBER.peer, None)
    add = Add(
        member=MEMBER.peer,
        role=Role.WRITE,
        invite=invite.operation_id,
        prekey_hash=None,
        proof=INVITE_KEY.sign(Label.JOIN, statement),
    )
    made["add"] = added = control(2, invite, Kind.ADD, encode_body(add), previous=())
    claim = encode_body(Claim(log_id=CONTENT_LOG, clients=(6, 2**53 - 1)))
    many = tuple(OperationId(bytes([n]) * 32) for n in range(64))
    extension = content(document, 0, previous=(added.operation_id,), secret=SECRET.secret_id)
    made["content that names its secret, one previous"] = first = operation(
        0, None, extension, sealed(document, 0)
    )
    made["claim, one previous"] = control(
        3, added, Kind.CLAIM, claim, previous=(first.operation_id,)
    )
    made["content, no previous"] = second = operation(
        1, first.operation_id, content(document, 1), sealed(document, 1)
    )
    made["content, 64 previous"] = third = operation(
        2, second.operation_id, content(document, 2, previous=many), sealed(document, 2)
    )
    made["content that allows pruning"] = operation(
        3, third.operation_id, content(document, 3, prune=True), sealed(document, 3)
    )
    return made


def hexadecimal(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def extension_fields(extension: AnyExtension) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "log_id": extension.log_id.hex(),
        "timestamp": extension.timestamp,
        "prune": extension.prune,
    }
    if isinstance(extension, Extension):
        fields |= {
            "kind": int(extension.kind),
            "document": hexadecimal(extension.document),
            "previous": [one.hex() for one in extension.previous],
            "secret": hexadecimal(extension.secret),
        }
    return fields


def operation_vectors() -> dict[str, Any]:
    listed: list[dict[str, Any]] = [
        {
            "name": name,
            "body": one.body.hex(),
            "seq_num": one.header.seq_num,
            "backlink": hexadecimal(one.header.backlink),
            "extension": extension_fields(one.extension),
            "header": one.header_bytes.hex(),
            "id": one.operation_id.hex(),
        }
        for name, one in culm_operations().items()
    ]
    basic = BasicExtension(log_id=CONTENT_LOG, timestamp=TIME_US, prune=False)
    header = sign(FOUNDER, seq_num=0, backlink=None, extension=basic, body=b"hello")
    listed.append(
        {
            "name": "p2panda's Basic variant",
            "body": b"hello".hex(),
            "seq_num": 0,
            "backlink": None,
            "extension": extension_fields(basic),
            "header": header.encode().hex(),
            "id": None,
        }
    )
    return {
        "about": "Operations with culm's extension (variant 0x8000); bodies of content are sealed.",
        "signing_key_seed": FOUNDER.seed.hex(),
        "operations": listed,
    }


def example_messages() -> dict[str, Message]:
    """One message of each type."""
    made = culm_operations()
    first = made["content that names its secret, one previous"]
    log = first.log
    compact = CompactOperation(
        log=log,
        seq_num=0,
        signature=first.header.signature,
        timestamp=first.extension.timestamp,
        kind=Kind.UPDATE,
        prune=False,
        backlink=None,
        previous=first.extension.previous,
        secret=SECRET.secret_id,
        body=first.body,
    )
    return {
        "have": Have(is_last=True, heights=((log, Height(count=1, tip=first.operation_id)),)),
        "pre-sync": PreSync(operations=3),
        "operation": compact,
        "operation of a branch": replace(
            compact, log=branch_of(log, first.operation_id), root=log.log_id
        ),
        "body part": BodyPart(data=b"part"),
        "done": Done(exchange=1),
        "ack": Ack(counts=((0, 1), (log, 2)), is_wanted=True),
        "nack": Nack(log=0, seq_num=7, reason="bad-signature"),
        "join": Join(invite_key=INVITE_KEY.peer, prekey=PREKEY, proof=bytes(64)),
        "join refused": JoinRefused(reason="expired"),
        "join pending": JoinPending(nonce=bytes(16)),
        "digests": Digests(entries=((bytes(32), bytes([1]) * 32),)),
        "heartbeat": Heartbeat(number=7, is_answer=True),
    }


def example_invite() -> Invite:
    return Invite(
        document=DocumentId(culm_operations()["genesis"].operation_id),
        name="meeting notes",
        inviter=FOUNDER.peer,
        addresses=("127.0.0.1:4433", "[::1]:4433"),
        expires_us=TIME_US * 2,
        others=((MEMBER.peer, ("192.0.2.7:4433",)),),
        key=INVITE_KEY,
    )


def sealed_vectors(document: DocumentId, first: Operation) -> dict[str, Any]:
    return {
        "sealed_body": {
            "secret": SECRET.key.hex(),
            "secret_id": SECRET.secret_id.hex(),
            "document": document.hex(),
            "author": first.author.hex(),
            "log_id": CONTENT_LOG.hex(),
            "seq_num": 0,
            "kind": int(Kind.UPDATE),
            "nonce": NONCE.hex(),
            "plain": UPDATE.hex(),
            "sealed": sealed(document, 0).hex(),
        },
        "sealed_record": {
            "storage_key": STORAGE_KEY.hex(),
            "label": "document",
            "owner": document.hex(),
            "plain": b"record".hex(),
            "sealed": seal_record(STORAGE_KEY, "document", document, b"record", nonce=NONCE).hex(),
        },
    }


def value_vectors() -> dict[str, Any]:
    made = culm_operations()
    first = made["content that names its secret, one previous"]
    document = DocumentId(made["genesis"].operation_id)
    frontier = {
        one.log: Height(count=one.header.seq_num + 1, tip=one.operation_id) for one in made.values()
    }
    return {
        "about": "Values that two implementations have to compute alike; bytes are hexadecimal.",
        "client_id": {
            "author": first.author.hex(),
            "log_id": CONTENT_LOG.hex(),
            "client_id": client_id(first.log),
        },
        "branch": {
            "author": first.author.hex(),
            "log_id": CONTENT_LOG.hex(),
            "first_operation": first.operation_id.hex(),
            "branch": branch_of(first.log, first.operation_id).log_id.hex(),
            "client_id": client_id(first.log),
            "client_id_in_branch": branch_client(
                client_id(first.log), branch_of(first.log, first.operation_id)
            ),
        },
        "channel_name": {
            "document": document.hex(),
            "binding": BINDING.hex(),
            "name": channel_name(document, BINDING).hex(),
        },
        "frontier": {
            "heights": [
                [log.author.hex(), log.log_id.hex(), height.count, height.tip.hex()]
                for log, height in frontier.items()
            ],
            "digest": digest(frontier).hex(),
            "digest_of_none": digest({}).hex(),
        },
        **sealed_vectors(document, first),
        "join_statement": {
            "document": document.hex(),
            "member": MEMBER.peer.hex(),
            "prekey_hash": PREKEY.digest().hex(),
            "statement": join_statement(document, MEMBER.peer, PREKEY.digest()).hex(),
        },
        "invite": {
            "inviter_seed": FOUNDER.seed.hex(),
            "invite_seed": INVITE_KEY.seed.hex(),
            "text": example_invite().encode(FOUNDER),
        },
        "messages": {
            name: encode_message(message).hex() for name, message in example_messages().items()
        },
    }


def membership_vectors() -> dict[str, Any]:
    """The named cases of membership: what came, and who is a member and what is void then."""
    return {
        "about": "Operations of one document, in a causal order, and what every replica makes of them.",
        "cases": [membership_case(name, make()) for name, make in CASES.items()],
    }


def membership_case(name: str, case: Case) -> dict[str, Any]:
    ledger = Ledger(case.devices["a"].document)
    Gate(ledger).admit(case.written)
    logs = [log for key in ledger.heights() if (log := ledger.log(key)) is not None]
    return {
        "name": name,
        "about": (CASES[name].__doc__ or "").strip(),
        "document": ledger.document.hex(),
        "operations": [[one.header_bytes.hex(), one.body.hex()] for one in case.written],
        "members": {
            case.devices[letter].peer.hex(): int(role) for letter, role in case.members.items()
        },
        "void": [one.operation_id.hex() for one in case.void],
        "logs": [
            {
                "author": log.key.author.hex(),
                "log_id": log.key.log_id.hex(),
                "count": log.count,
                "told": ledger.counting.told(log.slot),
            }
            for log in logs
        ],
    }


MADE: Final = {
    "culm-operations.json": operation_vectors,
    "culm-values.json": value_vectors,
    "membership.json": membership_vectors,
}


def text_of(name: str) -> str:
    """What the file of that name has to hold."""
    return json.dumps(MADE[name](), indent=1) + "\n"


if __name__ == "__main__":
    for file_name in MADE:
        (FOLDER / file_name).write_text(text_of(file_name), encoding="utf-8")
