"""Sealed bytes: the bodies of content operations under a document secret, and records at rest under the storage key.

XChaCha20-Poly1305 with a random 24-byte nonce in front (draft-irtf-cfrg-xchacha-03); what the bytes are and where they
belong is authenticated with them, so that nothing can be moved elsewhere.
"""

from typing import Final

from blake3 import blake3
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_ABYTES,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError

from domain import codec
from domain.errors import SealError
from domain.identifiers import DocumentId, Position, SecretId

NONCE_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
OVERHEAD_BYTES: Final = NONCE_BYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES
SECRET_BYTES: Final = 32


class DocumentSecret:
    """A secret that seals the content of a document; never shown, never logged.

    Args:
        key: 32 secret random bytes.
    """

    __slots__ = ("key", "secret_id")

    def __init__(self, key: bytes) -> None:
        if len(key) != SECRET_BYTES:
            raise SealError("wrong-key", f"a document secret has {SECRET_BYTES} bytes")
        self.key = key
        self.secret_id = SecretId(blake3(key).digest())

    def __repr__(self) -> str:
        """Show the public name alone."""
        return f"DocumentSecret({self.secret_id.short})"


def seal_body(
    secret: DocumentSecret,
    document: DocumentId,
    position: Position,
    kind: int,
    plain: bytes,
    *,
    nonce: bytes,
) -> bytes:
    """Seal the body of a content operation for its one place: `nonce || XChaCha20-Poly1305`."""
    return _seal(secret.key, _body_place(document, position, kind, secret.secret_id), plain, nonce)


def open_body(
    secret: DocumentSecret, document: DocumentId, position: Position, kind: int, sealed: bytes
) -> bytes:
    """Open the body of a content operation.

    Raises:
        SealError: Another secret sealed it, for another place, or it was altered.
    """
    return _open(secret.key, _body_place(document, position, kind, secret.secret_id), sealed)


def seal_record(
    storage_key: bytes, label: str, owner: bytes, plain: bytes, *, nonce: bytes
) -> bytes:
    """Seal a record at rest; `label` says what it is, `owner` whose."""
    return _seal(storage_key, codec.encode(("culm record v1", label, owner)), plain, nonce)


def open_record(storage_key: bytes, label: str, owner: bytes, sealed: bytes) -> bytes:
    """Open a record at rest.

    Raises:
        SealError: It belongs to another key, label or owner, or was altered.
    """
    return _open(storage_key, codec.encode(("culm record v1", label, owner)), sealed)


def _body_place(document: DocumentId, position: Position, kind: int, secret_id: SecretId) -> bytes:
    (author, log_id), seq_num = position
    return codec.encode(("culm body v1", document, author, log_id, seq_num, kind, secret_id))


def _seal(key: bytes, place: bytes, plain: bytes, nonce: bytes) -> bytes:
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, place, nonce, key)


def _open(key: bytes, place: bytes, sealed: bytes) -> bytes:
    if len(sealed) < OVERHEAD_BYTES:
        raise SealError("truncated", "sealed bytes are shorter than their nonce and tag")
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed[NONCE_BYTES:], place, sealed[:NONCE_BYTES], key
        )
    except CryptoError:
        raise SealError(
            "not-authentic", "sealed under another secret, for another place, or altered"
        ) from None
