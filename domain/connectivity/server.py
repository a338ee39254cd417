"""The servers that a node may be told to use, as text: STUN, TURN, rendezvous.

    stun        host[:port]
    turn        turn:[user:password@]host[:port][?transport=udp|tcp][&secret=TEXT]
                turns:... is TURN over TLS; pin=SHA256 accepts exactly that certificate
    rendezvous  PEERID@host:port

The password of a TURN server may be derived from a secret that it shares with its users (`use-auth-secret`).
"""

from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha1
from hmac import new as new_hmac
from typing import Final, Self
from urllib.parse import parse_qsl, unquote

from domain.connectivity.address import Address, AddressError, parse_address
from domain.errors import ConfigurationError, IdentifierError
from domain.identifiers import PeerId

STUN_PORT: Final = 3_478
TURNS_PORT: Final = 5_349
CREDENTIAL_S: Final = 86_400
PIN_BYTES: Final = 32
_TRANSPORTS: Final = ("udp", "tcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnServer:
    """A TURN server, and how to get in.

    Args:
        address: Where it is.
        transports: How to reach it: `udp`, `tcp`, `tls`; tried at the same time.
        username: The user, or a name to put into time-limited credentials.
        password: The password; empty with `secret`.
        secret: What time-limited credentials are made of.
        pin: SHA-256 of its certificate (DER), if only that one will do.
    """

    address: Address
    transports: tuple[str, ...]
    username: str = ""
    password: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    pin: bytes | None = None

    def credentials(self, *, now_s: int) -> tuple[str | None, str | None]:
        """User and password for a new allocation; None for both where the server asks for none."""
        if self.secret:
            name = f"{now_s + CREDENTIAL_S}:{self.username or 'culm'}"
            digest = new_hmac(self.secret.encode(), name.encode(), sha1).digest()
            return name, b64encode(digest).decode()
        return (self.username, self.password) if self.username else (None, None)

    def __str__(self) -> str:
        """Name it without what is secret."""
        return f"{'turns' if self.transports == ('tls',) else 'turn'}:{self.address}"


@dataclass(frozen=True, slots=True)
class RendezvousServer:
    """A node that hands on offers, and where it is."""

    peer: PeerId
    address: Address

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `PEERID@host:port`.

        Raises:
            ConfigurationError: It is something else.
        """
        peer, at, address = text.strip().partition("@")
        try:
            return cls(PeerId.from_hex(peer if at else ""), parse_address(address))
        except (AddressError, IdentifierError) as error:
            raise ConfigurationError(
                f"not a rendezvous: {text!r} ({error}); write PEERID@host:port"
            ) from None

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        return f"{self.peer}@{self.address}"


def is_rendezvous(text: str) -> bool:
    """Whether an address is that of a rendezvous, by which somebody else is found."""
    return "@" in text


def parse_stun(text: str) -> Address:
    """Read `host[:port]`.

    Raises:
        ConfigurationError: It is something else.
    """
    return _address(text.strip().removeprefix("stun:"), STUN_PORT)


def parse_turn(text: str) -> TurnServer:
    """Read the URI of a TURN server.

    Raises:
        ConfigurationError: It is none; the text names what is wrong, never a password.
    """
    scheme, colon, rest = text.strip().partition(":")
    if not colon or scheme not in ("turn", "turns"):
        raise ConfigurationError("a TURN server is turn:user:password@host:port or turns:...")
    place, _, query = rest.partition("?")
    login, _, host = place.rpartition("@")
    user, _, password = login.partition(":")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - {"transport", "secret", "pin"})
    if unknown:
        raise ConfigurationError(f"a TURN server has no option {unknown[0]!r}")
    transport = options.get("transport")
    if transport is not None and transport not in _TRANSPORTS:
        raise ConfigurationError("the transport of a TURN server is udp or tcp")
    is_tls = scheme == "turns"
    transports = ("tls",) if is_tls else ((transport,) if transport else _TRANSPORTS)
    return TurnServer(
        address=_address(host, TURNS_PORT if is_tls else STUN_PORT),
        transports=transports,
        username=unquote(user),
        password=unquote(password),
        secret=options.get("secret", ""),
        pin=_pin(options["pin"]) if "pin" in options else None,
    )


def _pin(text: str) -> bytes:
    try:
        pin = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        pin = b""
    if len(pin) != PIN_BYTES:
        raise ConfigurationError(
            "the pin of a TURN server is 64 hex digits: SHA-256 of its certificate"
        )
    return pin


def _address(text: str, port: int) -> Address:
    is_bare = text.endswith("]") or ":" not in text
    try:
        return parse_address(f"{text}:{port}" if is_bare else text)
    except AddressError as error:
        raise ConfigurationError(str(error)) from None
