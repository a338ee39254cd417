"""An invite comes back whole, or is refused: truncated, altered, or not an invite at all."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import codec, limits
from domain.errors import InviteError
from domain.identifiers import DocumentId, PeerId
from domain.identity import DeviceKey, Label
from domain.invite import PREFIX, Invite
from tests.strategies import document_ids, key, keys, texts, timestamps
from tests.unsound_keys import MIXED, UNSOUND

INVITER = key(1)
invites = st.builds(
    Invite,
    document=document_ids,
    name=texts,
    inviter=st.just(INVITER.peer),
    addresses=st.lists(texts, max_size=3).map(tuple),
    expires_us=timestamps,
    key=keys,
    others=st.lists(st.tuples(keys.map(lambda made: made.peer), st.just(("a:1",))), max_size=4).map(
        tuple
    ),
    confirm=st.booleans(),
)
EXAMPLE = Invite(
    document=DocumentId(b"\7" * 32),
    name="notes",
    inviter=INVITER.peer,
    addresses=("127.0.0.1:4433",),
    expires_us=1,
    key=key(2),
)
TEXT = EXAMPLE.encode(INVITER)


def fields_of(invite: Invite) -> tuple[object, ...]:
    return (
        invite.document,
        invite.name,
        invite.inviter,
        invite.addresses,
        invite.expires_us,
        invite.key.seed,
        invite.others,
        invite.confirm,
    )


def packed(contents: codec.Value, signer: DeviceKey = INVITER) -> str:
    """An invite string around any contents, signed."""
    data = codec.encode(contents)
    return packed_bytes(codec.encode((data, signer.sign(Label.INVITE, data))))


def packed_bytes(data: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def reason_for(text: str) -> str:
    with pytest.raises(InviteError) as caught:
        Invite.decode(text)
    return caught.value.reason


@given(invites)
def test_invite_comes_back(invite: Invite) -> None:
    text = invite.encode(INVITER)
    assert text.startswith(PREFIX)
    assert text.split() == [text]
    assert fields_of(Invite.decode(text)) == fields_of(invite)


@given(st.integers(0, len(TEXT) - 1))
def test_truncated_invite_is_malformed(length: int) -> None:
    assert reason_for(TEXT[:length]) == "malformed"


def test_every_altered_character_is_noticed() -> None:
    for at in range(len(TEXT)):
        for character in "A_-+/=~é":
            if TEXT[at] != character:
                assert reason_for(TEXT[:at] + character + TEXT[at + 1 :]) in ("malformed", "forged")


@given(st.integers(0, len(TEXT) - 1), st.characters(exclude_categories=["Z", "C"]))
def test_any_altered_character_is_noticed(at: int, character: str) -> None:
    if TEXT[at] != character:
        reason_for(TEXT[:at] + character + TEXT[at + 1 :])


def test_last_character_has_one_form() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for name in ("n", "no", "not"):  # one of these leaves bits unused in the last character
        text = Invite.encode(Invite.decode(packed(contents_with(name))), INVITER)
        for character in set(alphabet) - {text[-1]}:
            reason_for(text[:-1] + character)


def contents_with(name: str) -> tuple[codec.Value, ...]:
    return (
        2,
        EXAMPLE.document,
        name,
        INVITER.peer,
        ("127.0.0.1:4433",),
        (),
        1,
        False,
        EXAMPLE.key.seed,
    )


@given(st.lists(st.integers(0, len(TEXT)), max_size=5), st.sampled_from([" ", "\n", "\r\n", "\t"]))
def test_blanks_around_and_within_are_ignored(places: list[int], blank: str) -> None:
    text = TEXT
    for at in sorted(places, reverse=True):
        text = text[:at] + blank + text[at:]
    assert fields_of(Invite.decode(f"{blank}{text}{blank}")) == fields_of(EXAMPLE)


@given(st.text(max_size=200) | st.text(max_size=200).map(lambda text: PREFIX + text))
def test_other_text_is_malformed(text: str) -> None:
    assert reason_for(text) == "malformed"


@given(st.binary(max_size=200).map(packed_bytes))
def test_other_bytes_are_malformed(text: str) -> None:
    assert reason_for(text) == "malformed"


def test_text_that_is_too_long_is_malformed() -> None:
    with pytest.raises(InviteError, match="too long"):
        Invite.decode(PREFIX + "A" * 10_000)
    assert reason_for("A" * 10**6) == "malformed"


def test_invite_by_somebody_else_is_forged() -> None:
    assert reason_for(EXAMPLE.encode(key(3))) == "forged"
    assert reason_for(packed(contents_with("notes"), key(3))) == "forged"


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 1),
        (0, 3),
        (0, True),
        (1, bytes(31)),
        (2, b"name"),
        (3, bytes(33)),
        (4, ["a"] * (limits.INVITE_ADDRESSES_MAX + 1)),
        (4, ["a" * (limits.ADDRESS_BYTES_MAX + 1)]),
        (5, [(INVITER.peer, ("a:1",))] * (limits.INVITE_OTHERS_MAX + 1)),
        (5, [(INVITER.peer,)]),
        (5, [(bytes(31), ("a:1",))]),
        (5, [(INVITER.peer, ["a"] * (limits.INVITE_ADDRESSES_MAX + 1))]),
        (6, -1),
        (7, 1),
        (8, bytes(31)),
    ],
)
def test_invite_with_a_wrong_field_is_malformed(at: int, value: codec.Value) -> None:
    contents = list(contents_with("notes"))
    Invite.decode(packed(contents))
    contents[at] = value
    assert reason_for(packed(contents)) == "malformed"


def test_repr_shows_no_secret() -> None:
    shown = repr(EXAMPLE)
    assert "notes" in shown
    assert EXAMPLE.key.seed.hex() not in shown
    assert repr(EXAMPLE.key.seed) not in shown


@pytest.mark.parametrize("peer", UNSOUND)
def test_invite_that_names_a_manager_to_whom_nothing_can_be_sealed_is_malformed(
    peer: PeerId,
) -> None:
    assert reason_for(replace(EXAMPLE, others=((peer, ()),)).encode(INVITER)) == "malformed"


def test_invite_of_somebody_to_whom_nothing_can_be_sealed_is_malformed() -> None:
    assert reason_for(replace(EXAMPLE, inviter=MIXED.peer).encode(MIXED)) == "malformed"
