"""Identifiers have one length and one text; signatures are good for what they were made for, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import IdentifierError
from domain.identifiers import (
    DocumentId,
    Identifier,
    LogId,
    OperationId,
    PeerId,
    SecretId,
)
from domain.identity import DeviceKey, Label, can_be_sealed_to, verify, verify_operation
from tests.strategies import key, keys, some_bytes
from tests.unsound_keys import MIXED, UNSOUND

TYPES = [DocumentId, LogId, OperationId, PeerId, SecretId]


@given(st.sampled_from(TYPES), some_bytes(32))
def test_identifier_comes_back_from_its_text(kind: type[Identifier], value: bytes) -> None:
    identifier = kind(value)
    assert kind.from_hex(str(identifier)) == identifier == value
    assert identifier.short == value.hex()[:8]
    assert repr(identifier) == f"{kind.__name__}({value.hex()[:8]})"


@given(st.sampled_from(TYPES), st.binary(max_size=64).filter(lambda value: len(value) != 32))
def test_identifier_of_another_length_is_refused(kind: type[Identifier], value: bytes) -> None:
    with pytest.raises(IdentifierError):
        kind(value)
    with pytest.raises(IdentifierError):
        kind.from_hex(value.hex())


def test_identifier_of_other_text_is_refused() -> None:
    with pytest.raises(IdentifierError, match="64 hex digits"):
        PeerId.from_hex("zz" * 32)


@given(keys, st.sampled_from(Label), st.sampled_from(Label), st.binary(max_size=40))
def test_signature_is_good_under_its_own_label_alone(
    signer: DeviceKey, label: Label, other: Label, message: bytes
) -> None:
    signature = signer.sign(label, message)
    assert verify(signer.peer, label, message, signature)
    assert verify(signer.peer, other, message, signature) == (other == label)
    assert not verify(signer.peer, label, message + b"!", signature)
    assert not verify(key(9).peer, label, message, signature)
    assert not verify_operation(signer.peer, message, signature)


def test_operation_signature_has_no_label() -> None:
    signature = key(1).sign_operation(b"header")
    assert verify_operation(key(1).peer, b"header", signature)
    assert not verify(key(1).peer, Label.HELLO, b"header", signature)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64])
def test_what_is_no_signature_is_no_error(signature: bytes) -> None:
    assert not verify(key(1).peer, Label.HELLO, b"", signature)
    assert not verify(PeerId(b"\xff" * 32), Label.HELLO, b"", signature)


def test_device_key_shows_its_public_half_alone() -> None:
    device = key(1)
    assert device.seed == bytes(31) + b"\x01"
    assert repr(device) == f"DeviceKey({device.peer.short})"
    assert device.seed.hex() not in repr(device)


@given(keys)
def test_something_can_be_sealed_to_every_device(device: DeviceKey) -> None:
    assert can_be_sealed_to(device.peer)


@pytest.mark.parametrize("peer", UNSOUND)
def test_nothing_can_be_sealed_to_what_is_no_point_of_prime_order(peer: PeerId) -> None:
    assert not can_be_sealed_to(peer)


def test_signatures_of_an_id_to_which_nothing_can_be_sealed_may_verify() -> None:
    """So that a signature is good says nothing about what can be sealed."""
    for number in range(10):
        message = bytes([number])
        assert verify(MIXED.peer, Label.OFFER, message, MIXED.sign(Label.OFFER, message))
