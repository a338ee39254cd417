"""How something outside commands a running node: the control socket."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Protocol


class CommandHandler(Protocol):
    """Carries out commands of the control socket."""

    @abstractmethod
    def handle(
        self, command: str, arguments: Mapping[str, object]
    ) -> AsyncIterator[Mapping[str, object]]:
        """Carry out one command and yield its answers, each a JSON object, the last one the result.

        Closing the iterator early cancels the command.

        Raises:
            CulmError: The command failed; the caller is told the type and the text.
        """
