"""What one connection needs of the endpoint that carries it."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, TypeVar

from adapters.quic.path import Path, PathOwner
from domain.connectivity.probe import ProbeKey

Connected_contra = TypeVar("Connected_contra", contravariant=True)
"""The connection, which knows its host."""


class ConnectionHost(Protocol[Connected_contra]):
    """What a connection needs of its endpoint."""

    @property
    @abstractmethod
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that everything runs in."""

    @property
    @abstractmethod
    def is_behind(self) -> bool:
        """Whether datagrams have arrived that no connection has seen yet."""

    @abstractmethod
    def now(self) -> float:
        """Seconds."""

    @abstractmethod
    def send(self, datagrams: Sequence[bytes], path: Path) -> None:
        """Send datagrams on a path."""

    @abstractmethod
    def unlock(self, path: Path, key: ProbeKey, owner: PathOwner) -> None:
        """The hello is done: from now on the path may change."""

    @abstractmethod
    def add_route(self, connection_id: bytes, connection: Connected_contra) -> None:
        """Datagrams to that connection id are for this connection."""

    @abstractmethod
    def remove_route(self, connection_id: bytes, connection: Connected_contra) -> None:
        """They are no longer."""

    @abstractmethod
    def established(self, connection: Connected_contra) -> None:
        """The hello is done."""

    @abstractmethod
    def ended(self, connection: Connected_contra) -> None:
        """The connection has ended; it may still have to say so."""

    @abstractmethod
    def forget(self, connection: Connected_contra) -> None:
        """Nothing will come of it any more."""
