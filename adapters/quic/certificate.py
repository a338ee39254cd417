"""The certificate that carries a device key through TLS, and the two configurations made with it.

Self-signed, always the same for the same key: nobody checks its dates or its name, only that the key in it is the
one that was expected, which `Engine.peer_key` reads.
"""

import ssl
from datetime import UTC, datetime
from typing import Final

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from adapters.quic.congestion import CONGESTION_CONTROL
from domain.connectivity.hello import application_protocol
from domain.identity import DeviceKey
from domain.limits import IDLE_S_MAX, RECEIVE_WINDOW_BYTES_MIN

NAME: Final = "culm"
"""What every certificate is for and every dial asks for: a peer id there would tell onlookers who is called."""
CONNECTION_ID_BYTES: Final = 8
NOT_BEFORE: Final = datetime(2000, 1, 1, tzinfo=UTC)
NOT_AFTER: Final = datetime(9999, 12, 31, tzinfo=UTC)


def make_certificate(key: DeviceKey) -> tuple[x509.Certificate, Ed25519PrivateKey]:
    """Make the certificate of a device and the key that signs with it."""
    private_key = Ed25519PrivateKey.from_private_bytes(key.seed)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(1)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .sign(private_key, None)
    )
    return certificate, private_key


def make_configuration(
    key: DeviceKey,
    network_id: str,
    *,
    is_client: bool,
    congestion_control: str = CONGESTION_CONTROL,
) -> QuicConfiguration:
    """Configure one side of QUIC for a device in a network."""
    configuration = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[application_protocol(network_id)],
        congestion_control_algorithm=congestion_control,
        connection_id_length=CONNECTION_ID_BYTES,
        idle_timeout=IDLE_S_MAX,
        max_stream_data=RECEIVE_WINDOW_BYTES_MIN,
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
    if is_client:
        configuration.server_name = NAME
        configuration.verify_mode = (
            ssl.CERT_NONE
        )  # the key is compared, which proves more than a name
    else:
        configuration.certificate, configuration.private_key = make_certificate(key)
    return configuration
