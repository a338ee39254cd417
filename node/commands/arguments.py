"""The arguments of a command, checked as they are taken: they come as JSON from another process."""

from collections.abc import Collection, Mapping
from pathlib import Path

from domain.errors import UsageError


class Arguments:
    """What a command was given.

    Args:
        command: The name of the command, for errors.
        given: The arguments.
        known: The names that the command knows.

    Raises:
        UsageError: One is not known.
    """

    def __init__(
        self, command: str, given: Mapping[str, object], known: Collection[str] = ()
    ) -> None:
        self._command = command
        self._given = given
        unknown = sorted(given.keys() - set(known))
        if unknown:
            raise UsageError(f"the command {command} has no argument {unknown[0]!r}")

    def _wrong(self, name: str, wanted: str) -> UsageError:
        return UsageError(f"the argument {name!r} of the command {self._command} is {wanted}")

    def text(self, name: str) -> str:
        """Give a text that has to be there."""
        value = self.optional_text(name)
        if value is None:
            raise self._wrong(name, "missing")
        return value

    def optional_text(self, name: str) -> str | None:
        """Give a text, or None."""
        value = self._given.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value

    def path(self, name: str) -> Path:
        """Give the path of a file, which need not be there.

        Raises:
            UsageError: It is no path, or nothing can be found out about it.
        """
        path = self.optional_path(name)
        if path is None:
            raise self._wrong(name, "missing")
        return path

    def optional_path(self, name: str) -> Path | None:
        """Give the path of a file, which need not be there, or None; see `path`."""
        text = self.optional_text(name)
        if text is None:
            return None
        path = Path(text)
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:
            raise UsageError(f"the path {text!r} cannot be used: {error}") from None
        return path

    def texts(self, name: str) -> tuple[str, ...]:
        """Give a list of texts, empty where there is none."""
        value = self._given.get(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise self._wrong(name, "a list of texts")
        return tuple(value)

    def flag(self, name: str) -> bool:
        """Give a yes or no; no where there is none."""
        value = self._given.get(name, False)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def number(self, name: str, default: float) -> float:
        """Give a number."""
        value = self._given.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number")
        return value

    def whole_number(self, name: str, default: int) -> int:
        """Give a whole number."""
        value = self.number(name, default)
        if not isinstance(value, int):
            raise self._wrong(name, "a whole number")
        return value
