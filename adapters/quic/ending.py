"""How a connection ended, in the codes of our registry: QUIC has its own."""

from typing import Final

from adapters.quic.boundary import Termination
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.strategy import connection_lost
from domain.errors import ConnectionLostError

ALERT_NO_APPLICATION_PROTOCOL: Final = 0x178
CRYPTO_ERRORS: Final = range(0x100, 0x200)
SILENT: Final = "the peer was not heard any more"
APPLICATION_ERROR: Final = 0x0C
"""What an application's code looks like when it is sent before the handshake is done (RFC 9000, 10.2.3)."""


def explain(termination: Termination, *, has_heard: bool) -> ConnectionLostError:
    """Put QUIC's own codes into those of our registry."""
    code, detail = termination.error_code, termination.reason
    if termination.by_application:
        return connection_lost(code, detail, by_peer=termination.by_peer)
    if termination.is_idle:
        code, detail = (
            CloseCode.TIMED_OUT,
            SILENT if has_heard else "nobody answered",
        )
    elif code == ALERT_NO_APPLICATION_PROTOCOL:
        code, detail = CloseCode.WRONG_NETWORK, "the peer belongs to another network"
    elif code in CRYPTO_ERRORS or code == APPLICATION_ERROR:
        code, detail = CloseCode.HANDSHAKE_FAILED, f"the handshake failed: {detail or hex(code)}"
    else:
        code, detail = CloseCode.PROTOCOL_ERROR, f"QUIC error {code:#x}: {detail}"
    return connection_lost(code, detail, by_peer=termination.by_peer)
