"""Editors: a document, the log that a store would keep of it, and what a node does with both, without waiting."""

import random
from collections.abc import Sequence
from typing import Any, Final

from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from domain.crdt.judged import Judged
from domain.crdt.walker import walk_update
from domain.document import Document
from domain.errors import OperationError
from domain.forking import is_ours, renamed_log, take_pending
from domain.founding import found, new_record
from domain.identifiers import LogKey, OperationId, Position
from domain.identity import DeviceKey, Label
from domain.keyring import Keyring
from domain.ledger.gate import Admitted
from domain.operations.control import Add, InviteTerms, Role, join_statement
from domain.operations.distribution import SecretDistribution
from domain.operations.kind import Kind
from domain.operations.operation import Operation, decode_operation
from domain.renewal import moved, with_new_logs
from domain.sealing import NONCE_BYTES, SECRET_BYTES, DocumentSecret, seal_body
from tests.strategies import SeededEntropy, key

INVITE_KEY: Final = key(99)
REPLAY_OPERATIONS: Final = 3


class Editor:
    """A device that edits, and the operations that it has on disk, in the order of their arrival."""

    def __init__(self, document: Document, entropy: SeededEntropy) -> None:
        self.document = document
        self.entropy = entropy
        self.log: list[Operation] = []
        self.now_us = 0
        self.last_judged = Judged()
        self.team: list[Editor] = [self]

    # -- What is edited --

    @property
    def text(self) -> Text:
        text: Text = self.document.ydoc.get("text", type=Text)
        return text

    @property
    def map(self) -> "Map[Any]":
        shared: Map[Any] = self.document.ydoc.get("map", type=Map)
        return shared

    @property
    def array(self) -> "Array[Any]":
        array: Array[Any] = self.document.ydoc.get("array", type=Array)
        return array

    @property
    def xml(self) -> XmlFragment:
        xml: XmlFragment = self.document.ydoc.get("xml", type=XmlFragment)
        return xml

    @property
    def content_log(self) -> LogKey:
        return self.document.author.content_log

    @property
    def secret(self) -> DocumentSecret:
        secret = self.document.current_secret()
        assert secret is not None
        return secret

    def edit(self, chance: random.Random) -> None:
        """Change something at random, in a transaction of one or more edits."""
        with self.document.ydoc.transaction():
            for _ in range(chance.choice((1, 1, 1, 4))):
                chance.choice((_edit_text, _edit_text, _edit_map, _edit_array, _edit_xml))(
                    self, chance
                )

    # -- What a node does --

    def stage(self) -> list[Operation]:
        self.now_us += 1
        return self.document.stage(now_us=self.now_us, entropy=self.entropy)

    def flush(self) -> list[Operation]:
        """Sign and store what was edited; give what was written."""
        written: list[Operation] = []
        self._go_on()
        while staged := self.stage() or self._announce_secret():
            written += staged
            self.settle(staged)
        if self.document.rebuild_reason is not None:
            self.rebuild()
        return written

    def _announce_secret(self) -> list[Operation]:
        """Make a secret where all that we hold are known to somebody who may no longer read; the team is told it."""
        if not self.document.needs_secret:
            return []
        secret = DocumentSecret(self.entropy.draw(SECRET_BYTES))
        for editor in self.team:
            editor.document.keyring.add_secret(secret)
        body = SecretDistribution(secrets=(secret.secret_id,))
        self.document.write_control(
            Kind.SECRET_DISTRIBUTION, body, now_us=self.now_us, entropy=self.entropy
        )
        return [entry.operation for entry in self.document.author.staged]

    def settle(self, staged: Sequence[Operation]) -> None:
        self.log += staged
        released = [one for one in self.document.settle(staged).entered if one not in staged]
        self._keep(released)

    def write_control(self, kind: Kind, body: Any) -> Operation:  # noqa: ANN401 - any body
        self.document.write_control(kind, body, now_us=self.now_us, entropy=self.entropy)
        return self.flush()[-1]

    def receive(self, operations: Sequence[Operation]) -> Admitted:
        """Take in operations as they came over the wire: check, store, apply."""
        self._go_on()
        sent = [decode_operation(one.header_bytes, one.body) for one in operations]
        received = self.document.receive(sent)
        assert not received.forged
        if waited_for := self.document.gate.waited_for_ids():
            known_places = {one.operation_id: one.position for one in self.log}
            found = {each: known_places[each] for each in waited_for & known_places.keys()}
            received.admitted.entered.extend(self.document.gate.retry(found).entered)
        self._keep(received.admitted.entered)
        known = {one.operation_id for one in self.log}
        for operation in received.admitted.old:
            if operation.operation_id not in known and self._take_rival(operation):
                again = self.receive(operations)  # what follows it can enter now
                received.admitted.entered.extend(again.entered)
                break
        return received.admitted

    def _take_rival(self, rival: Operation) -> bool:
        """Take in an operation whose place is taken, as a node does; whether its log is found to fork there."""
        by_id = {one.operation_id: one for one in self.log}
        [held] = [one for one in self.log if one.position == rival.position]
        if held.header.backlink != rival.header.backlink:
            return False
        before = None if rival.header.backlink is None else by_id[rival.header.backlink]
        try:
            fork = self.document.ledger.examine_rival(rival, held, before)
        except OperationError:
            return False
        if fork is None:
            return False
        old = self.document
        record = with_new_logs(old.record, self.entropy) if is_ours(old, fork) else old.record
        self.log = [*renamed_log(self.log, fork), fork.rival]
        fresh = Document(old.key, old.document, record, old.keyring)
        again = Editor(fresh, self.entropy)
        again.log = self.log
        again.replay()
        for update in take_pending(old, fresh, fork, record):
            fresh.adopt(update)
        old.go_on_as(fresh, "a log forked")
        return True

    def _keep(self, entered: Sequence[Operation]) -> None:
        self.log += entered
        ids = {one.position: one.operation_id for one in self.log}
        unknown = self.document.account.unknown_ends()
        self.document.account.commit(entered, {place: ids[place] for place in unknown})
        self.document.look_for_returned(entered)
        self.last_judged = self.document.apply(entered)
        if self.document.rebuild_reason is not None:
            self.rebuild()

    def rebuild(self) -> None:
        for _ in range(20):
            replica = self.document.start_rebuild()
            if self.document.feed(replica, self.log):
                self.document.finish_rebuild(replica)
                return
            self.document.replica = replica
        raise AssertionError("rebuilding does not end")

    def _go_on(self) -> None:
        """Go on in new logs where a node would."""
        old = self.document
        if not old.is_stranded and not old.has_returned:
            return
        record = with_new_logs(old.record, self.entropy)
        fresh = Document(old.key, old.document, record, old.keyring)
        again = Editor(fresh, self.entropy)
        again.log = self.log
        again.replay()
        for update in moved(old, old.pending.split()[0], {}, record):
            fresh.adopt(update)
        old.go_on_as(fresh, "new logs")

    def replay(self) -> None:
        """Bring the document up from the log."""
        for at in range(0, len(self.log), REPLAY_OPERATIONS):
            self.document.replay(self.log[at : at + REPLAY_OPERATIONS])
        ids = {one.position: one.operation_id for one in self.log}
        unknown = self.document.account.unknown_ends()
        self.document.account.commit((), {place: ids[place] for place in unknown})
        if self.document.rebuild_reason is not None:
            self.rebuild()
        else:
            self.document.open_ydoc()

    def reopened(self) -> "Editor":
        """What comes up after a crash: everything that was stored, and nothing else."""
        old = self.document
        document = Document(old.key, old.document, old.record, old.keyring)
        editor = Editor(document, SeededEntropy(("again", len(self.log))))
        editor.now_us, editor.log = self.now_us, list(self.log)
        editor.team = self.team
        editor.replay()
        return editor

    # -- What only a broken or hostile device does --

    def publish(self, update: bytes) -> Operation:
        """Write any update, checked by nobody."""
        author = self.document.author
        operation = author.write_update(
            update, walk_update(b"\0\0"), now_us=self.now_us, entropy=self.entropy
        )
        self.log.append(operation)
        self.document.settle([operation])
        return operation

    def publish_sealed(self, body: bytes, kind: int = Kind.UPDATE) -> Operation:
        """Write any body of any kind of content."""
        author = self.document.author
        secret = author._name_secret(self.secret)
        operation = author._write(self.content_log, kind, body, secret, now_us=self.now_us)  # type: ignore[arg-type]
        self.log.append(operation)
        self.document.settle([operation])
        return operation

    def sealed(self, plain: bytes, *, seq_num_ahead: int = 0) -> bytes:
        """Seal a body for the place of the next operation, or for one after it."""
        log = self.content_log
        place = Position(log, self.document.author.next_seq_num(log) + seq_num_ahead)
        nonce = self.entropy.draw(NONCE_BYTES)
        return seal_body(
            self.secret, self.document.document, place, Kind.UPDATE, plain, nonce=nonce
        )

    def admit(self, peer_key: DeviceKey, invite: OperationId) -> None:
        statement = join_statement(self.document.document, peer_key.peer, None)
        add = Add(
            member=peer_key.peer,
            role=Role.WRITE,
            invite=invite,
            prekey_hash=None,
            proof=INVITE_KEY.sign(Label.JOIN, statement),
        )
        self.write_control(Kind.ADD, add)


def found_editors(count: int, seed: object = 0) -> list[Editor]:
    """Found a document with so many writers; all have everything."""
    entropy = SeededEntropy((seed, 1))
    document, founding = found(key(1), "notes", now_us=0, entropy=entropy)
    founder = Editor(document, entropy)
    founder.log += founding
    terms = InviteTerms(key=INVITE_KEY.peer, role=Role.WRITE, expires_us=0, uses=99)
    invite = founder.write_control(Kind.INVITE, terms).operation_id
    editors = [founder]
    for number in range(2, count + 1):
        founder.admit(key(number), invite)
        editors.append(newcomer(founder, number, seed))
    for editor in editors:
        editor.team = editors
        if editor is not founder:
            editor.receive(founder.log)
    return editors


def newcomer(founder: Editor, number: int, seed: object = 0) -> Editor:
    """A device that knows the secret of the document and has no operation yet."""
    entropy = SeededEntropy((seed, number))
    keyring = Keyring(secrets=dict(founder.document.keyring.secrets))
    record = new_record("notes", entropy)
    return Editor(Document(key(number), founder.document.document, record, keyring), entropy)


def exchange(editors: Sequence[Editor]) -> None:
    """Give everybody what anybody has."""
    for editor in editors:
        for other in editors:
            if other is not editor:
                editor.receive(other.log)


def content(ydoc: "Doc[Any]") -> dict[str, Any]:
    """All that a document says."""
    return {
        "text": ydoc.get("text", type=Text).diff(),
        "map": ydoc.get("map", type=Map).to_py(),
        "array": ydoc.get("array", type=Array).to_py(),
        "xml": str(ydoc.get("xml", type=XmlFragment)),
    }


def read(editor: Editor) -> dict[str, Any]:
    return content(editor.document.ydoc)


PIECES: Final = ("a", "word ", "é", "👩‍👩‍👧", "\n", "e\u0301", "中文")


def _place(text: str, chance: random.Random) -> tuple[int, int]:
    """A range of whole characters, in the UTF-8 bytes that pycrdt counts."""
    start, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    return len(text[:start].encode()), len(text[:end].encode())


def _edit_text(editor: Editor, chance: random.Random) -> None:
    text = editor.text
    start, end = _place(str(text), chance)
    match chance.randrange(5):
        case 0 if end > start:
            del text[start:end]
        case 1 if end > start:
            text.format(start, end, {"bold": chance.choice((True, None))})
        case _:
            text.insert(start, chance.choice(PIECES))


def _edit_map(editor: Editor, chance: random.Random) -> None:
    name = chance.choice("abc")
    match chance.randrange(4):
        case 0 if name in editor.map:
            del editor.map[name]
        case 1:
            editor.map[name] = Map({"in": chance.randrange(9)})
        case 2:
            editor.map[name] = Text(chance.choice(PIECES))
        case _:
            editor.map[name] = chance.choice((1, 2.5, "x", True, None, b"bytes", [1, {"k": 2}]))


def _edit_array(editor: Editor, chance: random.Random) -> None:
    array = editor.array
    if len(array) and chance.random() < 0.3:
        del array[chance.randrange(len(array))]
    else:
        array.insert(chance.randrange(len(array) + 1), chance.choice((1, "two", None, [3])))


def _edit_xml(editor: Editor, chance: random.Random) -> None:
    children = editor.xml.children
    if len(children) and chance.random() < 0.3:
        del children[chance.randrange(len(children))]
        return
    element = XmlElement("p", {"class": chance.choice("xy")})
    children.insert(chance.randrange(len(children) + 1), element)
    element.children.append(XmlText(chance.choice(PIECES)))
