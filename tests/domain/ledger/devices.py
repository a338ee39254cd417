"""Devices that share a document, at the level of the ledger: they sign operations and hand them on."""

# ruff: noqa: ANN401 - changes are of the types of the fields that they replace

import random
from dataclasses import replace
from typing import Any, Final

from domain.identifiers import DocumentId, LogId, LogKey, OperationId, PeerId, Position, SecretId
from domain.identity import DeviceKey, Label
from domain.ledger.gate import Admitted, Gate
from domain.ledger.ledger import Ledger
from domain.operations.control import (
    Add,
    Claim,
    ControlBody,
    Genesis,
    InviteTerms,
    Role,
    encode_body,
    join_statement,
)
from domain.operations.kind import Kind, is_content
from domain.operations.operation import Extension, Operation, sign
from tests.strategies import key

SECRET: Final = SecretId(bytes(32))
FOUNDER: Final = 1
INVITE_KEY: Final = key(99)


def log_id(*parts: int) -> LogId:
    return LogId(bytes(parts).rjust(32, b"\0"))


class Device:
    """A device with its own replica of the ledger, and one log for control and one for content."""

    def __init__(self, number: int, document: DocumentId) -> None:
        self.number = number
        self.key = key(number)
        self.document = document
        self.ledger = Ledger(document)
        self.gate = Gate(self.ledger)
        self.clock = 0
        self.log_ids = {False: log_id(number, 1), True: log_id(number, 2)}

    @property
    def peer(self) -> PeerId:
        return self.key.peer

    @property
    def content_log(self) -> LogKey:
        return LogKey(self.peer, self.log_ids[True])

    def draft(self, kind: int, body: bytes = b"", /, **changes: Any) -> Operation:
        """Sign the next operation as an honest device would, but for the changes."""
        content = is_content(kind)
        named = changes.pop("log_id", self.log_ids[content])
        log = self.ledger.log(LogKey(self.peer, named))
        count, tip = (log.count, log.tip) if log is not None else (0, None)
        self.clock += 1
        extension = Extension(
            log_id=named,
            timestamp=self.clock,
            kind=kind,
            document=None if count else self.document,
            previous=tuple(sorted(self.ledger.tips - {tip})),
            secret=SECRET if content and not count else None,
        )
        seq_num, backlink = changes.pop("seq_num", count), changes.pop("backlink", tip)
        signer: DeviceKey = changes.pop("signer", self.key)
        header = sign(
            signer,
            seq_num=seq_num,
            backlink=backlink,
            extension=replace(extension, **changes),
            body=body,
        )
        return Operation.assemble(header, body)

    def write(self, kind: int, body: bytes = b"", **changes: Any) -> Operation:
        operation = self.draft(kind, body, **changes)
        assert self.take([operation]).entered == [operation]
        return operation

    def write_control(self, kind: Kind, body: ControlBody, **changes: Any) -> Operation:
        return self.write(kind, encode_body(body), **changes)

    def take(self, operations: list[Operation]) -> Admitted:
        return self.gate.admit(operations)

    def invite(self, invite_key: DeviceKey = INVITE_KEY) -> Operation:
        terms = InviteTerms(key=invite_key.peer, role=Role.WRITE, expires_us=0, uses=9)
        return self.write_control(Kind.INVITE, terms)

    def addition(self, member: PeerId, invite: OperationId, **changes: Any) -> Add:
        statement = join_statement(self.document, member, None)
        add = Add(
            member=member,
            role=Role.WRITE,
            invite=invite,
            prekey_hash=None,
            proof=INVITE_KEY.sign(Label.JOIN, statement),
        )
        return replace(add, **changes)

    def add(self, member: PeerId, invite: OperationId) -> Operation:
        return self.write_control(Kind.ADD, self.addition(member, invite))

    def claim(self, *clients: int, log: LogId | None = None) -> Operation:
        body = Claim(log_id=log or self.log_ids[True], clients=tuple(sorted(clients)))
        return self.write_control(Kind.CLAIM, body)


def found(timestamp: int = 0) -> tuple[Device, Operation]:
    """Found a document; another one at another time."""
    body = encode_body(Genesis())
    extension = Extension(log_id=log_id(FOUNDER, 1), timestamp=timestamp, kind=Kind.GENESIS)
    header = sign(key(FOUNDER), seq_num=0, backlink=None, extension=extension, body=body)
    genesis = Operation.assemble(header, body)
    founder = Device(FOUNDER, DocumentId(genesis.operation_id))
    assert founder.take([genesis]).entered == [genesis]
    return founder, genesis


def found_team(count: int) -> tuple[list[Device], list[Operation]]:
    """Found a document with so many writers; all have everything."""
    founder, genesis = found()
    invite = founder.invite()
    devices = [founder, *(Device(FOUNDER + n, founder.document) for n in range(1, count))]
    written = [genesis, invite]
    written += [founder.add(device.peer, invite.operation_id) for device in devices[1:]]
    for device in devices[1:]:
        device.take(written)
    return devices, written


class History:
    """What several devices did at the same time, handing on to each other at random what they have.

    Args:
        seed: Makes the same history again.
        steps: How many things happen.
    """

    def __init__(self, seed: int, steps: int) -> None:
        self.random = random.Random(seed)
        founder, genesis = found()
        self.founder = founder
        self.devices = [founder]
        self.held = {founder.number: [genesis]}
        self.invites: list[Operation] = []
        for _ in range(steps):
            self._step()

    @property
    def operations(self) -> list[Operation]:
        everything = {
            operation.operation_id: operation for held in self.held.values() for operation in held
        }
        return list(everything.values())

    def _step(self) -> None:
        device = self.random.choice(self.devices)
        held = self.held[device.number]
        match self.random.randrange(8):
            case 0:
                self.invites.append(self.founder.invite())
                self.held[FOUNDER].append(self.invites[-1])
            case 1 if self.invites and len(self.devices) < 4:
                self._admit()
            case 2:
                held.append(device.claim(self.random.randrange(8) + 10 * device.number))
            case 3 | 4:
                self._hand_on(device, self.random.choice(self.devices))
            case _:
                held.append(device.write(Kind.UPDATE, self.random.randbytes(3)))

    def _admit(self) -> None:
        newcomer = Device(FOUNDER + len(self.devices), self.founder.document)
        invite = self.random.choice(self.invites)
        self.held[FOUNDER].append(self.founder.add(newcomer.peer, invite.operation_id))
        self.devices.append(newcomer)
        self.held[newcomer.number] = []
        self._hand_on(self.founder, newcomer)

    def _hand_on(self, giver: Device, taker: Device) -> None:
        """Hand on everything, in any order and some of it twice; all of it must enter."""
        given = list(self.held[giver.number])
        given += self.random.sample(given, len(given) // 4)
        self.random.shuffle(given)
        admitted = taker.take(given)
        assert not admitted.refused
        self.held[taker.number] += admitted.entered


def pasts(ledger: Ledger) -> dict[Position, dict[LogKey, int]]:
    """The causal past of every operation, in terms that do not depend on the order of arrival."""
    return {
        Position(log, seq_num): {
            ledger.log_in(slot).key: count
            for slot, count in ledger.past_of(Position(log, seq_num)).items()
        }
        for log, height in ledger.heights().items()
        for seq_num in range(height.count)
    }


def view(ledger: Ledger) -> dict[str, Any]:
    """Everything that replicas with the same operations have to agree about."""
    return {
        "heights": ledger.heights(),
        "tips": ledger.tips,
        "members": ledger.membership.members(),
        "managers": ledger.managers(),
        "pasts": pasts(ledger),
        "present": {ledger.log_in(slot).key: n for slot, n in ledger.present().items()},
        "owners": {client: ledger.claims.owner(client) for client in range(50)},
        "read_only": ledger.read_only_reason,
    }
