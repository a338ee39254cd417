"""What a router does other than forwarding a port."""

from domain.errors import NetworkError


class GatewayError(NetworkError):
    """The router forwards nothing; the text says why."""


class GatewayMessageError(GatewayError):
    """Bytes that are no answer of a router."""


class GatewayVersionError(GatewayError):
    """The router knows neither this version of the protocol nor what was asked for."""


class GatewaySilentError(GatewayError):
    """The router has not answered."""


class GatewayRefusedError(GatewayError):
    """The router has said no.

    Args:
        text: Why.
        retry_s: After how many seconds it may be asked again.
    """

    def __init__(self, text: str, *, retry_s: float) -> None:
        super().__init__(text)
        self.retry_s = retry_s


class GatewayMovedError(GatewayError):
    """Another router leads out of the local network now, or none."""
