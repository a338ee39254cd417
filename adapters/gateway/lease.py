"""What a router gives: a port for a time; and how its clock tells that it has forgotten what it gave."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Final, Protocol

from domain.connectivity.address import Address

LIFETIME_S: Final = 3_600
"""What is asked for. RFC 6886 (3.3) recommends two hours; after one a killed process leaves less behind."""
GIVE_BACK_S: Final = (0.25, 0.25)
"""Waits for the answer when a port is given back: at the end of a node nobody wants to wait for longer."""
EPOCH_STEP_S: Final = 1
EPOCH_SLACK_S: Final = 2
EPOCH_DRIFT: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A port that is forwarded to us.

    Args:
        external: The address and the port outside.
        lifetime_s: For so many seconds from the answer on.
        epoch_s: The router's clock when it answered.
    """

    external: Address
    lifetime_s: float
    epoch_s: int


class GatewayClient(Protocol):
    """One protocol, spoken with one router about one port of ours.

    Each call raises `GatewaySilentError`, `GatewayRefusedError` or `GatewayVersionError`.
    """

    @property
    @abstractmethod
    def protocol(self) -> str:
        """What it is called."""

    @abstractmethod
    async def map(self, suggested: Address | None) -> Lease:
        """Ask for the port, or for more time; a new one may differ from what is suggested."""

    @abstractmethod
    async def read_epoch(self) -> int:
        """Ask for the router's clock, in seconds."""

    @abstractmethod
    async def give_back(self) -> None:
        """Say that the port is not needed any more."""


class EpochWatch:
    """Compares the router's clock with ours (RFC 6887, 8.5).

    RFC 6886 (3.6) has a rule of its own for NAT-PMP, which notices less: to take a slow clock for a restart costs one
    request.
    """

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None

    def has_restarted(self, epoch_s: int, *, now: float) -> bool:
        """Take a reading, and say whether the router has forgotten everything since the last one."""
        last, self._last = self._last, (epoch_s, now)
        if last is None:
            return False
        theirs, ours = epoch_s - last[0], now - last[1]
        return (
            theirs < -EPOCH_STEP_S
            or ours + EPOCH_SLACK_S < theirs - theirs / EPOCH_DRIFT
            or theirs + EPOCH_SLACK_S < ours - ours / EPOCH_DRIFT
        )
