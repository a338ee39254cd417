"""The last text that a file and a document had in common, as it is kept across restarts.

Merging needs it: a line that the file has and the document has not was inserted into the file, or deleted from
the document, and only the last common text tells which. While a change is carried from one side to the other,
both the common text before and the one after are kept, since a crash may leave either; `choose` finds out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from domain.errors import MirrorError
from domain.text import difference, size


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonText:
    """What is kept about a file and a document.

    Args:
        text: The last common text.
        following: The one that is being made so, or None.
        void_count: How many of our operations counted no longer when the file was last cleared of them.
    """

    text: str
    following: str | None = None
    void_count: int = 0

    def encode(self) -> str:
        """Write it as a string that `decode` reads; nobody else needs to."""
        parts: list[str | int | None] = [self.text]
        if self.following is not None or self.void_count:
            parts.append(self.following)
        if self.void_count:
            parts.append(self.void_count)
        return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decode(cls, encoded: str) -> Self:
        """Read what `encode` wrote.

        Raises:
            MirrorError: It is something else.
        """
        try:
            texts = json.loads(encoded)
        except (ValueError, RecursionError):
            texts = None
        match texts:
            case [str(text)]:
                return cls(text=text)
            case [str(text), str(following)]:
                return cls(text=text, following=following)
            case [str(text), None | str() as following, int(void_count)]:
                return cls(text=text, following=following, void_count=void_count)
            case _:
                raise MirrorError(
                    "what is kept about the mirrored file is damaged: mirror it again with --merge"
                )

    def choose(self, sides: Sequence[str]) -> str:
        """The text from which file and document have gone apart: the following one if both sides have got there.

        One side had the change, and after a crash in the middle the other one has it or has not. If it has, both
        are nearer to the following text, by the size of the change each; if it has not, one is nearer and one
        further. The limit is half-way, since texts are also alike by chance. Where the change has not reached the
        other side, it is carried over once more.
        """
        if self.following is None:
            return self.text
        before = sum(size(difference(self.text, side)) for side in sides)
        after = sum(size(difference(self.following, side)) for side in sides)
        change = size(difference(self.text, self.following))
        return self.following if before - after > change else self.text
