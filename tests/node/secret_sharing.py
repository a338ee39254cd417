"""Documents whose secrets are given and withheld, and what can be seen of that."""

from domain.document import Document as DocumentState
from domain.errors import SealError
from domain.identifiers import SecretId
from domain.operations.control import Remove, Role, SetRole
from domain.operations.kind import Kind, is_content
from domain.operations.operation import Operation
from domain.sealing import open_body
from node.document import Document
from node.node import Node
from node.owner import DocumentOwner
from node.stored import from_stored

EVERYTHING = 1 << 40


def owner_of(document: Document) -> DocumentOwner:
    return document._owner


def state_of(document: Document) -> DocumentState:
    return owner_of(document).document


def secrets_of(document: Document) -> set[SecretId]:
    return set(state_of(document).keyring.secrets)


def current(document: Document) -> SecretId | None:
    secret = state_of(document).current_secret()
    return secret.secret_id if secret is not None else None


async def joined(node: Node, by: Document, role: str = "write") -> Document:
    document = await node.join(await by.invite(role=role))
    await document.synced()
    return document


async def write(document: Document, what: str) -> None:
    text = document.text("body")
    text += what
    await document.durable()


async def remove(document: Document, node: Node) -> None:
    await owner_of(document).write(Kind.REMOVE, Remove(member=node.peer_id))


async def demote(document: Document, node: Node, role: Role) -> None:
    await owner_of(document).write(Kind.SET_ROLE, SetRole(member=node.peer_id, role=role))


async def log_of(document: Document) -> list[Operation]:
    arrivals = await owner_of(document).store.read(
        document.id, after=0, count_max=EVERYTHING, bytes_max=EVERYTHING
    )
    return [from_stored(arrival.operation) for arrival in arrivals]


def opened(state: DocumentState, operations: list[Operation]) -> list[bytes]:
    """Whatever a device can open of some operations with all secrets that it has."""
    plain = []
    for operation in operations:
        if is_content(operation.extension.kind):
            for secret in state.keyring.secrets.values():
                try:
                    plain.append(
                        open_body(
                            secret,
                            state.document,
                            operation.position,
                            operation.extension.kind,
                            operation.body,
                        )
                    )
                except SealError:
                    continue
    return plain
