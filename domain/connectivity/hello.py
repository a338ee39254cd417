"""The hello: how both ends of a fresh connection learn who is there and agree on a version.

The server speaks first. TLS has proven its key to the dialler already; the dialler proves its own by a signature
over everything that makes this connection this one, so that it is worthless on any other:

    server   [1, versions, capabilities, nonce, instance]
    dialler  [2, version, capabilities, key, instance, nonce, probe secret, signature]
    server   [3, probe secret]

The two machines here do no I/O and draw no randomness: nonces and secrets are arguments. They accept exactly one
message at each step; anything else is a `HandshakeError` with the code to close with. The invariant: `agreement`
is there only after everything was checked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

from blake3 import blake3

from domain.codec import (
    CodecError,
    decode_array,
    encode,
    take_bytes,
    take_int,
    take_list,
    take_text,
)
from domain.connectivity.close_codes import CloseCode
from domain.errors import HandshakeError
from domain.identifiers import PeerId
from domain.identity import SIGNATURE_BYTES, DeviceKey, Label, verify
from domain.limits import (
    CAPABILITIES_MAX,
    CAPABILITY_BYTES_MAX,
    HELLO_BYTES_MAX,
    NETWORK_ID_BYTES_MAX,
    PROTOCOL_VERSIONS_MAX,
)

PROTOCOL_VERSIONS: Final = (1,)
INSTANCE_BYTES: Final = 16
NONCE_BYTES: Final = 32
PROBE_SECRET_BYTES: Final = 16
VERSION_MAX: Final = 2**16 - 1

_Result = TypeVar("_Result")

_HELLO_SERVER, _HELLO, _HELLO_ACK = 1, 2, 3
_HELLO_SERVER_ELEMENTS, _HELLO_ELEMENTS, _HELLO_ACK_ELEMENTS = 5, 8, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloOffer:
    """What one side brings to a hello; drawn afresh for each connection but for the instance.

    Args:
        network_id: The configured name of the network.
        instance: 16 bytes drawn when the process started.
        nonce: 32 random bytes.
        probe_secret: 16 random bytes, from which the keys of later path probes are derived.
        versions: The protocol versions that we speak.
        capabilities: What we can do beyond the version.
    """

    network_id: str
    instance: bytes
    nonce: bytes
    probe_secret: bytes
    versions: Sequence[int] = PROTOCOL_VERSIONS
    capabilities: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloAgreement:
    """What both sides know once the hello is done.

    Args:
        peer: Who is at the other end.
        instance: What the peer drew when its process started.
        version: The highest version that both speak.
        capabilities: What both can do.
        binding: Server nonce, then dialler nonce: 64 bytes that no other connection has.
        probe_secret: That of the dialler, then that of the server: 32 bytes that no third party knows.
    """

    peer: PeerId
    instance: bytes
    version: int
    capabilities: frozenset[str]
    binding: bytes
    probe_secret: bytes


def application_protocol(network_id: str) -> str:
    """The ALPN name of a network: nodes of different networks do not get past the TLS handshake.

    Raises:
        ValueError: The network id is empty or too long.
    """
    name = network_id.encode()
    if not 1 <= len(name) <= NETWORK_ID_BYTES_MAX:
        raise ValueError(f"a network id has 1 to {NETWORK_ID_BYTES_MAX} bytes, not {len(name)}")
    return f"culm/1-{blake3(name, derive_key_context='culm network v1').hexdigest(16)}"


class ServerHello:
    """The listener's side.

    Args:
        server: Our own id, which TLS proves to the dialler.
        offer: What we bring.
    """

    def __init__(self, server: PeerId, offer: HelloOffer) -> None:
        self._server = server
        self._offer = offer
        self.agreement: HelloAgreement | None = None

    def start(self) -> bytes:
        """The message that goes first."""
        offer = self._offer
        return encode(
            [
                _HELLO_SERVER,
                sorted(offer.versions),
                sorted(offer.capabilities),
                offer.nonce,
                offer.instance,
            ]
        )

    def receive(self, message: bytes) -> bytes | None:
        """Judge the dialler's message; our answer completes the hello.

        Raises:
            HandshakeError: It is malformed, out of turn, of no common version, or the signature is not the dialler's.
        """
        if self.agreement is not None:
            _refuse("a second hello")
        return _checked(lambda: self._receive_hello(message))

    def _receive_hello(self, message: bytes) -> bytes:
        offer = self._offer
        fields = _open(message, _HELLO, _HELLO_ELEMENTS)
        version = take_int(fields[1], maximum=VERSION_MAX)
        if version not in offer.versions:
            raise HandshakeError(
                CloseCode.VERSION_NOT_SUPPORTED, f"the dialler chose version {version}"
            )
        capabilities = _take_capabilities(fields[2])
        dialler = PeerId(take_bytes(fields[3], minimum=PeerId.LENGTH, maximum=PeerId.LENGTH))
        instance = take_bytes(fields[4], minimum=INSTANCE_BYTES, maximum=INSTANCE_BYTES)
        nonce = take_bytes(fields[5], minimum=NONCE_BYTES, maximum=NONCE_BYTES)
        probe_secret = take_bytes(fields[6], minimum=PROBE_SECRET_BYTES, maximum=PROBE_SECRET_BYTES)
        signature = take_bytes(fields[7], minimum=SIGNATURE_BYTES, maximum=SIGNATURE_BYTES)
        if dialler == self._server:
            raise HandshakeError(CloseCode.HANDSHAKE_FAILED, "the dialler claims our own key")
        binding = offer.nonce + nonce
        transcript = _transcript(
            offer.network_id, version, (self._server, dialler), binding, (offer.instance, instance)
        )
        if not verify(dialler, Label.HELLO, transcript, signature):
            raise HandshakeError(
                CloseCode.HANDSHAKE_FAILED,
                "the signature is not the dialler's over this connection",
            )
        self.agreement = HelloAgreement(
            peer=dialler,
            instance=instance,
            version=version,
            capabilities=frozenset(offer.capabilities) & capabilities,
            binding=binding,
            probe_secret=probe_secret + offer.probe_secret,
        )
        return encode([_HELLO_ACK, offer.probe_secret])


class DiallerHello:
    """The dialler's side.

    Args:
        key: Our own key.
        server: Who TLS has proven to be at the other end.
        offer: What we bring.
    """

    def __init__(self, key: DeviceKey, server: PeerId, offer: HelloOffer) -> None:
        self._key = key
        self._server = server
        self._offer = offer
        self._expected: HelloAgreement | None = None
        self.agreement: HelloAgreement | None = None

    def receive(self, message: bytes) -> bytes | None:
        """Judge the server's next message; the first one has an answer, the second completes the hello.

        Raises:
            HandshakeError: It is malformed, out of turn, or there is no common version.
        """
        if self.agreement is not None:
            _refuse("a third message")
        if self._expected is None:
            return _checked(lambda: self._receive_hello_server(message))
        expected = self._expected
        return _checked(lambda: self._receive_hello_ack(message, expected))

    def _receive_hello_server(self, message: bytes) -> bytes:
        offer = self._offer
        fields = _open(message, _HELLO_SERVER, _HELLO_SERVER_ELEMENTS)
        offered = take_list(fields[1], maximum=PROTOCOL_VERSIONS_MAX)
        versions = {take_int(version, maximum=VERSION_MAX) for version in offered}
        common = versions & set(offer.versions)
        if not common:
            raise HandshakeError(
                CloseCode.VERSION_NOT_SUPPORTED,
                f"the peer speaks versions {sorted(versions)} of the protocol, we speak {sorted(offer.versions)}; "
                "update the older one",
            )
        version = max(common)
        capabilities = _take_capabilities(fields[2])
        server_nonce = take_bytes(fields[3], minimum=NONCE_BYTES, maximum=NONCE_BYTES)
        server_instance = take_bytes(fields[4], minimum=INSTANCE_BYTES, maximum=INSTANCE_BYTES)
        binding = server_nonce + offer.nonce
        self._expected = HelloAgreement(
            peer=self._server,
            instance=server_instance,
            version=version,
            capabilities=frozenset(offer.capabilities) & capabilities,
            binding=binding,
            probe_secret=offer.probe_secret,
        )
        transcript = _transcript(
            offer.network_id,
            version,
            (self._server, self._key.peer),
            binding,
            (server_instance, offer.instance),
        )
        signature = self._key.sign(Label.HELLO, transcript)
        return encode(
            (
                _HELLO,
                version,
                sorted(offer.capabilities),
                self._key.peer,
                offer.instance,
                offer.nonce,
                offer.probe_secret,
                signature,
            )
        )

    def _receive_hello_ack(self, message: bytes, expected: HelloAgreement) -> None:
        fields = _open(message, _HELLO_ACK, _HELLO_ACK_ELEMENTS)
        probe_secret = take_bytes(fields[1], minimum=PROBE_SECRET_BYTES, maximum=PROBE_SECRET_BYTES)
        self.agreement = HelloAgreement(
            peer=expected.peer,
            instance=expected.instance,
            version=expected.version,
            capabilities=expected.capabilities,
            binding=expected.binding,
            probe_secret=expected.probe_secret + probe_secret,
        )


def _transcript(
    network_id: str,
    version: int,
    peers: tuple[PeerId, PeerId],
    binding: bytes,
    instances: tuple[bytes, bytes],
) -> bytes:
    """What the dialler signs; of each pair the server's comes first."""
    server, dialler = peers
    server_nonce, dialler_nonce = binding[:NONCE_BYTES], binding[NONCE_BYTES:]
    return encode((network_id, version, server, server_nonce, dialler, dialler_nonce, *instances))


def _open(message: bytes, kind: int, elements: int) -> list[object]:
    fields = decode_array(message, bytes_max=HELLO_BYTES_MAX)
    if len(fields) != elements or take_int(fields[0], maximum=_HELLO_ACK) != kind:
        _refuse("another message than the one whose turn it is")
    return fields


def _take_capabilities(value: object) -> frozenset[str]:
    named = take_list(value, maximum=CAPABILITIES_MAX)
    return frozenset(take_text(name, bytes_max=CAPABILITY_BYTES_MAX) for name in named)


def _checked(step: Callable[[], _Result]) -> _Result:
    try:
        return step()
    except CodecError as error:
        raise HandshakeError(CloseCode.PROTOCOL_ERROR, f"malformed hello: {error}") from None


def _refuse(detail: str) -> NoReturn:
    raise HandshakeError(CloseCode.PROTOCOL_ERROR, f"unexpected in a hello: {detail}")
