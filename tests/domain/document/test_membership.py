"""Documents whose members change: one membership and one document, whatever the order, and nothing honest is lost."""

import pytest
from hypothesis import given, settings

from domain.crdt.judged import Block
from domain.crdt.walker import decode_state_vector
from domain.document import Document
from domain.errors import NotPermittedError
from domain.events import DocumentReloaded, EditsRefused
from domain.operations.control import Leave, Remove, Role, SetRole
from domain.operations.distribution import SecretDistribution
from domain.operations.kind import Kind
from domain.sealing import SECRET_BYTES, DocumentSecret
from tests.domain.document.editors import Editor, exchange, found_editors, newcomer, read
from tests.domain.document.quarrel import Quarrel, change, outcome
from tests.strategies import seeds


@given(seeds)
@settings(max_examples=25)
def test_editors_end_alike_and_come_up_again_alike(seed: int) -> None:
    quarrel = Quarrel(seed)
    exchange(quarrel.editors)
    exchange(quarrel.editors)
    first = outcome(quarrel.editors[0])
    for editor in quarrel.editors:
        assert outcome(editor)["content"] == first["content"]
        assert outcome(editor)["heights"] == first["heights"]
        again = editor.reopened()
        assert read(again) == read(editor)
        snapshot = editor.document.snapshot()
        assert snapshot is not None
        old = editor.document
        restored = Document(old.key, old.document, old.record, old.keyring)
        restored.restore(snapshot)
        restored.open_ydoc()
        assert restored.ledger.membership.members() == first["members"]


def three() -> list[Editor]:
    return found_editors(3)


def test_removed_text_goes_and_honest_text_inside_it_stays() -> None:
    founder, removed, honest = three()
    removed.text.insert(0, "void words")
    void = removed.flush()
    honest.receive(void)
    honest.text.insert(5, "KEPT")
    kept = honest.flush()
    assert str(honest.text) == "void KEPTwords"
    change(founder, Remove(member=removed.document.key.peer))
    exchange([founder, removed, honest])
    for editor in (founder, removed, honest):
        assert str(editor.text) == "KEPT"
    late = newcomer(founder, 9)
    late.receive([*kept, *founder.log])
    assert str(late.text) == "KEPT"


def test_removed_text_on_which_nothing_builds_is_neither_applied_nor_told() -> None:
    founder, removed, honest = three()
    removed.text.insert(0, "seen")
    founder.receive(removed.flush())
    change(founder, Remove(member=removed.document.key.peer))
    removed.text.insert(4, " unseen")
    unseen = removed.flush()
    for reader in (founder, honest):
        reader.receive([*removed.log, *founder.log])
        assert str(reader.text) == "seen"
        assert reader.document.heights[removed.content_log].count == 1
        assert reader.document.account.stored[removed.content_log].count == 1 + len(unseen)
        state = decode_state_vector(reader.document.ydoc.get_state())
        assert state[removed.document.pending.client] == len("seen")


def test_deletion_by_the_removed_is_undone() -> None:
    founder, removed, honest = three()
    founder.text.insert(0, "honest words")
    founder.flush()
    exchange([founder, removed, honest])
    del removed.text[0:12]
    removed.text.insert(0, "x")
    honest.receive(removed.flush())
    assert str(honest.text) == "x"
    honest.text.insert(1, "!")
    honest.flush()
    change(founder, Remove(member=removed.document.key.peer))
    exchange([founder, removed, honest])
    for editor in (founder, removed, honest):
        assert str(editor.text).replace("!", "") == "honest words"


def test_formatting_by_the_removed_is_undone_where_something_builds_on_it() -> None:
    founder, removed, honest = three()
    founder.text.insert(0, "plain")
    founder.flush()
    exchange([founder, removed, honest])
    removed.text.format(0, 5, {"bold": True})
    honest.receive(removed.flush())
    honest.text.insert(5, " more")
    honest.flush()
    change(founder, Remove(member=removed.document.key.peer))
    exchange([founder, removed, honest])
    for editor in (founder, removed, honest):
        assert str(editor.text) == "plain more"
        assert not any(attributes for _, attributes in editor.text.diff())


def test_map_key_written_by_the_removed_is_gone_everywhere() -> None:
    founder, removed, honest = three()
    founder.map["kept"] = 1
    founder.flush()
    exchange([founder, removed, honest])
    removed.map["void"] = 2
    honest.receive(removed.flush())
    honest.map["after"] = 3
    honest.flush()
    change(founder, Remove(member=removed.document.key.peer))
    exchange([founder, removed, honest])
    for editor in (founder, removed, honest):
        assert editor.map.to_py() == {"kept": 1, "after": 3}


def test_who_may_write_again_writes_what_counts_though_it_cannot_read_yet() -> None:
    """What it has not read holds up the change of its role too: what it writes lists that one all the same."""
    founder, writer = found_editors(2)
    writer.text.insert(0, "mine ")
    founder.receive(writer.flush())
    secret = DocumentSecret(founder.entropy.draw(SECRET_BYTES))
    founder.document.keyring.add_secret(secret)
    founder.write_control(Kind.SECRET_DISTRIBUTION, SecretDistribution(secrets=(secret.secret_id,)))
    founder.text.insert(0, "unread ")
    founder.flush()
    peer = writer.document.key.peer
    for role in (Role.READ, Role.WRITE):
        change(founder, SetRole(member=peer, role=role))
    writer.receive(founder.log)
    assert writer.document.replica.blocked() == {Block.SECRET: 1, Block.PAST: 2}
    assert writer.document.may_write
    writer.text.insert(0, "more ")
    founder.receive(writer.flush())
    assert sorted(str(founder.text).split()) == ["mine", "more", "unread"]


def test_what_is_written_under_a_secret_that_builds_on_something_unread_counts() -> None:
    """Nobody takes what is sealed under a secret that its past does not name; and what is unread belongs to no past."""
    founder, writer = found_editors(2)
    writer.text.insert(0, "mine ")
    founder.receive(writer.flush())
    for is_given in (False, True):
        secret = DocumentSecret(founder.entropy.draw(SECRET_BYTES))
        for editor in (founder, writer) if is_given else (founder,):
            editor.document.keyring.add_secret(secret)
        body = SecretDistribution(secrets=(secret.secret_id,))
        founder.write_control(Kind.SECRET_DISTRIBUTION, body)
        founder.text.insert(0, "unread ")
        founder.flush()
    writer.receive(founder.log)
    assert writer.document.replica.is_blocked
    assert writer.secret != founder.secret
    writer.text.insert(0, "more ")
    founder.receive(writer.flush())
    assert sorted(str(founder.text).split()) == ["mine", "more", "unread", "unread"]
    for each in founder.document.keyring.secrets.values():
        writer.document.keyring.add_secret(each)
    writer.rebuild()
    assert writer.secret == founder.secret


def test_document_says_that_it_was_reloaded_and_that_we_may_not_write() -> None:
    founder, removed, _ = three()
    removed.text.insert(0, "mine")
    removed.flush()
    founder.receive([one for one in removed.log if one.author != removed.document.key.peer])
    change(founder, Remove(member=removed.document.key.peer))
    before = removed.document.ydoc
    removed.receive(founder.log)
    assert removed.document.role is None
    assert removed.document.ydoc is not before
    assert any(isinstance(event, DocumentReloaded) for event in removed.document.events)
    removed.document.events.clear()
    removed.text.insert(0, "more")
    assert removed.flush() == []
    refused = [one for one in removed.document.events if isinstance(one, EditsRefused)]
    assert len(refused) == 1
    assert len(refused[0].updates) == 1
    assert str(removed.text) == ""
    with pytest.raises(NotPermittedError, match="no member"):
        change(removed, Leave())


def test_what_was_edited_upon_a_refused_edit_before_it_was_taken_back_is_refused_too() -> None:
    founder, member, _ = three()
    peer = member.document.key.peer
    change(founder, SetRole(member=peer, role=Role.READ))
    member.receive(founder.log)
    member.text.insert(0, "refused ")
    assert member.stage() == []
    member.text.insert(8, "late ")  # the disk is slow: nothing has been taken back yet
    change(founder, SetRole(member=peer, role=Role.WRITE))
    member.receive(founder.log)
    assert str(member.text) == ""
    told = [one for one in member.document.events if isinstance(one, EditsRefused)]
    assert [len(one.updates) for one in told] == [1, 1]
    assert member.document.pending.count_refused(0, 2) == 2
    member.text.insert(0, "again ")
    founder.receive(member.flush())
    assert str(founder.text) == str(member.text) == "again "
    assert told == [one for one in member.document.events if isinstance(one, EditsRefused)]


def test_what_is_not_allowed_is_never_signed() -> None:
    founder, member, other = three()
    peers = [editor.document.key.peer for editor in (founder, member, other)]
    for body in (Remove(member=peers[2]), SetRole(member=peers[1], role=Role.MANAGE)):
        with pytest.raises(NotPermittedError, match="ask somebody who manages"):
            change(member, body)
    with pytest.raises(NotPermittedError, match="give another member the role manage first"):
        change(founder, Leave())
    for editor in (founder, member):
        assert editor.reopened().document.heights == editor.document.heights
