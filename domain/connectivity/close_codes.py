"""The public registry of codes with which a connection ends; every close carries one.

Part of the protocol: a number never changes its meaning. A code that is not listed here came from a newer version
and is treated as `NORMAL` with its reason shown.
"""

from enum import IntEnum


class CloseCode(IntEnum):
    """Why a connection ended."""

    NORMAL = 0
    """Nothing more to say."""
    HANDSHAKE_FAILED = 1
    """The peer did not prove that it is who it should be, or the TLS handshake failed."""
    HANDSHAKE_TIMED_OUT = 2
    """The handshake and the hello together took longer than `HELLO_S_MAX`."""
    PROTOCOL_ERROR = 3
    """The peer sent what the protocol does not allow."""
    INTERNAL_ERROR = 4
    """The closing side failed for a reason of its own; dialling again may work."""

    SHUTTING_DOWN = 16
    """The node stops, in good order."""
    REPLACED = 17
    """A newer connection between the same two peers took its place."""
    WRONG_NETWORK = 18
    """The two nodes are configured with different network ids."""
    VERSION_NOT_SUPPORTED = 19
    """The two nodes have no version of the protocol in common."""
    UNUSED = 20
    """No document was exchanged for `UNUSED_S_MAX`, or `STRANGER_S_MAX`; dial again when there is one."""
    RESOURCES = 21
    """The closing side has too many connections; dial again later."""
    TIMED_OUT = 22
    """The peer was not heard for too long, or did not answer a heartbeat. Sent all the same: it may hear us."""
    NOT_WANTED = 23
    """The closing side shares no document with the peer."""
    REMOVED = 24
    """The peer is no longer a member of any document that the closing side has."""


def close_code_name(code: int) -> str:
    """Name a code for people, also one that we do not know."""
    try:
        return CloseCode(code).name.lower().replace("_", " ")
    except ValueError:
        return f"code {code}"
