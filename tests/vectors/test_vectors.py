"""Our formats are what the published vectors say, byte for byte, in both directions."""

import json
from typing import Any

import pytest

from domain.identifiers import DocumentId, LogId, LogKey, OperationId, PeerId, Position, SecretId
from domain.identity import DeviceKey, verify_operation
from domain.invite import Invite
from domain.ledger.branch import branch_client, branch_of
from domain.ledger.claim import client_id
from domain.ledger.gate import Gate
from domain.ledger.ledger import Height, Ledger
from domain.operations.control import decode_body, encode_body, join_statement
from domain.operations.kind import is_content
from domain.operations.operation import (
    AnyExtension,
    BasicExtension,
    Extension,
    check_body,
    decode_header,
    decode_operation,
    sign,
)
from domain.sealing import DocumentSecret, open_body, open_record, seal_body, seal_record
from domain.sync.frontier import channel_name, digest
from domain.sync.message import decode_message, encode_message
from tests.vectors.generate import FOLDER, MADE, example_messages, text_of


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return loaded


CULM = read("culm-operations.json")
VALUES = read("culm-values.json")
MEMBERSHIP = read("membership.json")
P2PANDA = read("p2panda-operations.json")


def maybe(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def extension_of(fields: dict[str, Any]) -> AnyExtension:
    log_id = LogId.from_hex(fields["log_id"])
    if "kind" not in fields:
        return BasicExtension(log_id=log_id, timestamp=fields["timestamp"], prune=fields["prune"])
    document, secret = maybe(fields["document"]), maybe(fields["secret"])
    return Extension(
        log_id=log_id,
        timestamp=fields["timestamp"],
        prune=fields["prune"],
        kind=fields["kind"],
        document=None if document is None else DocumentId(document),
        previous=tuple(OperationId.from_hex(one) for one in fields["previous"]),
        secret=None if secret is None else SecretId(secret),
    )


@pytest.mark.parametrize("name", MADE)
def test_vectors_are_what_the_generator_makes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == text_of(name)


@pytest.mark.parametrize(
    ("seed", "vector"),
    [
        pytest.param(vectors["signing_key_seed"], vector, id=vector["name"])
        for vectors in (P2PANDA, CULM)
        for vector in vectors["operations"]
    ],
)
def test_header_is_signed_and_decoded_byte_for_byte(seed: str, vector: dict[str, Any]) -> None:
    header_bytes, body = bytes.fromhex(vector["header"]), maybe(vector["body"]) or b""
    backlink = maybe(vector["backlink"])
    extension = extension_of(vector["extension"]) if "extension" in vector else None
    made = sign(
        DeviceKey(bytes.fromhex(seed)),
        seq_num=vector["seq_num"],
        backlink=None if backlink is None else OperationId(backlink),
        extension=extension,
        body=body,
    )
    assert made.encode() == header_bytes
    read_back = decode_header(header_bytes)
    assert read_back == made
    check_body(read_back, body)
    assert verify_operation(read_back.author, read_back.unsigned(), read_back.signature)


def test_operation_id_is_that_of_the_vectors() -> None:
    with_ids = [vector for vector in CULM["operations"] if vector["id"] is not None]
    for vector in with_ids:
        operation = decode_operation(bytes.fromhex(vector["header"]), bytes.fromhex(vector["body"]))
        assert operation.operation_id.hex() == vector["id"]
        if not is_content(operation.extension.kind):
            body = decode_body(operation.extension.kind, operation.body)
            assert encode_body(body) == operation.body
    assert len(with_ids) == len(CULM["operations"]) - 1


@pytest.mark.parametrize("case", MEMBERSHIP["cases"], ids=lambda case: case["name"])
def test_membership_is_that_of_the_vectors(case: dict[str, Any]) -> None:
    operations = [
        decode_operation(bytes.fromhex(header), bytes.fromhex(body))
        for header, body in case["operations"]
    ]
    ledger = Ledger(DocumentId.from_hex(case["document"]))
    assert Gate(ledger).admit(operations).entered == operations
    members = ledger.membership.members()
    assert {peer.hex(): int(role) for peer, role in members.items()} == case["members"]
    for expected in case["logs"]:
        key = LogKey(PeerId.from_hex(expected["author"]), LogId.from_hex(expected["log_id"]))
        log = ledger.log(key)
        assert log is not None
        assert log.count == expected["count"]
        assert ledger.counting.told(log.slot) == expected["told"]
    assert {one.hex() for one in ledger.membership.void()} <= set(case["void"])


def test_vectors_have_every_form_of_the_header() -> None:
    counts = {len(vector["extension"].get("previous", ())) for vector in CULM["operations"]}
    assert {0, 1, 64} <= counts


def test_second_p2panda_operation_links_to_the_first_with_a_body() -> None:
    first, second = P2PANDA["operations"][1:]
    header = decode_header(bytes.fromhex(first["header"]))
    assert decode_header(header.encode()) == header
    assert decode_header(bytes.fromhex(second["header"])).backlink == bytes.fromhex(
        second["backlink"]
    )


def test_branches_and_their_client_ids_are_derived_alike() -> None:
    entry = VALUES["branch"]
    log = LogKey(PeerId.from_hex(entry["author"]), LogId.from_hex(entry["log_id"]))
    branch = branch_of(log, OperationId.from_hex(entry["first_operation"]))
    assert branch.log_id.hex() == entry["branch"]
    assert branch_client(entry["client_id"], branch) == entry["client_id_in_branch"]


def test_client_id_and_channel_name_are_derived_alike() -> None:
    entry = VALUES["client_id"]
    log = LogKey(PeerId.from_hex(entry["author"]), LogId.from_hex(entry["log_id"]))
    assert client_id(log) == entry["client_id"]
    entry = VALUES["channel_name"]
    name = channel_name(DocumentId.from_hex(entry["document"]), bytes.fromhex(entry["binding"]))
    assert name.hex() == entry["name"]


def test_frontier_digest_does_not_depend_on_order() -> None:
    entry = VALUES["frontier"]
    heights = {
        LogKey(PeerId.from_hex(author), LogId.from_hex(log_id)): Height(
            count=count, tip=OperationId.from_hex(tip)
        )
        for author, log_id, count, tip in reversed(entry["heights"])
    }
    assert digest(heights).hex() == entry["digest"]
    assert digest({}).hex() == entry["digest_of_none"]


def test_body_is_sealed_and_opened_byte_for_byte() -> None:
    entry = VALUES["sealed_body"]
    secret = DocumentSecret(bytes.fromhex(entry["secret"]))
    assert secret.secret_id.hex() == entry["secret_id"]
    document = DocumentId.from_hex(entry["document"])
    log = LogKey(PeerId.from_hex(entry["author"]), LogId.from_hex(entry["log_id"]))
    position, kind = Position(log, entry["seq_num"]), entry["kind"]
    plain, sealed = bytes.fromhex(entry["plain"]), bytes.fromhex(entry["sealed"])
    nonce = bytes.fromhex(entry["nonce"])
    assert seal_body(secret, document, position, kind, plain, nonce=nonce) == sealed
    assert open_body(secret, document, position, kind, sealed) == plain


def test_record_is_sealed_and_opened_byte_for_byte() -> None:
    entry = VALUES["sealed_record"]
    storage_key, owner = bytes.fromhex(entry["storage_key"]), bytes.fromhex(entry["owner"])
    plain, sealed = bytes.fromhex(entry["plain"]), bytes.fromhex(entry["sealed"])
    nonce = bytes.fromhex(VALUES["sealed_body"]["nonce"])
    assert seal_record(storage_key, entry["label"], owner, plain, nonce=nonce) == sealed
    assert open_record(storage_key, entry["label"], owner, sealed) == plain


def test_join_statement_and_invite_are_those_of_the_vectors() -> None:
    entry = VALUES["join_statement"]
    statement = join_statement(
        DocumentId.from_hex(entry["document"]),
        PeerId.from_hex(entry["member"]),
        bytes.fromhex(entry["prekey_hash"]),
    )
    assert statement.hex() == entry["statement"]
    entry = VALUES["invite"]
    invite = Invite.decode(entry["text"])
    assert invite.key.seed.hex() == entry["invite_seed"]
    assert invite.encode(DeviceKey(bytes.fromhex(entry["inviter_seed"]))) == entry["text"]


def test_messages_are_encoded_and_decoded_byte_for_byte() -> None:
    examples = example_messages()
    assert examples.keys() == VALUES["messages"].keys()
    for name, message in examples.items():
        data = bytes.fromhex(VALUES["messages"][name])
        assert encode_message(message) == data
        assert decode_message(data) == message
