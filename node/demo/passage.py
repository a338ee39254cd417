"""What the authors of the demonstration type when no recorded session is given.

Each types a passage at the top of the empty document, all at once; then, having seen the others' first passages, each
types a second one into the middle of somebody else's first, and corrects the end of that. They mistype now and then,
and go back. The passages have accents, combining marks, joined emoji and several scripts: these are what goes wrong.
"""

from itertools import groupby
from typing import Final

from node.demo.script import Deletion, Insertion, Move, Place, Script

SLIP_EVERY: Final = 23  # code points between two typing errors
SLIP: Final = "qx"

PASSAGES: Final = (
    (
        "Ada writes: a document that lives on many devices needs no place that is "
        "its home. Each copy is whole, each may be edited at any time \u2708\ufe0f, "
        "and when two of them meet they tell each other what is new. Nobody waits; "
        "nobody asks for permission. That is a promise, and promises have to be tested "
        "\U0001f91d.\n"
    ),
    (
        "Bj\u00f6rn schreibt: Gr\u00fc\u00dfe aus dem Zug! Hinter K\u00f6ln war f\u00fcr "
        "\u00e4u\u00dferst lange Zeit kein Netz \U0001f686. Ich habe trotzdem weitergeschri"
        "eben, und jetzt flie\u00dft alles zusammen: \u201eheute\u201c und \u201egestern"
        "\u201c, \u20ac 5 f\u00fcr den Kaffee \u2615 inklusive.\n"
    ),
    (
        "Chlo\u00e9 \u00e9crit : d\u00e9j\u00e0 vu ? Non, c'est l'\u00e9t\u00e9. Les "
        "accents compose\u0301s et pre\u0301compos\u00e9s se ressemblent, mais ne "
        "sont pas e\u0301gaux. Voil\u00e0 pourquoi on compte les octets avec soin "
        "\U0001f9d1\u200d\U0001f4bb. \u00c7a marche.\n"
    ),
    (
        "Duc vi\u1ebft: ti\u1ebfng Vi\u1ec7t c\u00f3 nhi\u1ec1u d\u1ea5u. M\u1ed9t "
        "ch\u1eef c\u00f3 th\u1ec3 mang hai d\u1ea5u c\u00f9ng l\u00fac, nh\u01b0 "
        "\u1eaf hay \u1ed9. Kh\u00f4ng m\u1ea5t d\u1ea5u n\u00e0o c\u1ea3 \U0001f44d"
        "\U0001f3fd.\n"
    ),
    (
        "\u7d75\u7f8e\u5b50\u304c\u66f8\u304f\u3002\u4e00\u7dd2\u306b\u66f8\u304f\u3068"
        "\u65e9\u3044\u3002\u6587\u5b57\u306e\u6570\u3068\u30d0\u30a4\u30c8\u306e\u6570"
        "\u306f\u9055\u3046\u3002\u304b\u3099\u3068\u304c\u306f\u540c\u3058\u306b\u898b"
        "\u3048\u308b\u3002\U0001f338\n"
    ),
    (
        "Fatima \u062a\u0643\u062a\u0628: \u0627\u0644\u0646\u0635 \u064a\u0633\u064a\u0631"
        " \u0645\u0646 \u0627\u0644\u064a\u0645\u064a\u0646 \u0625\u0644\u0649 \u0627\u0644"
        "\u064a\u0633\u0627\u0631. \u0648\u0644\u0627 \u064a\u0636\u064a\u0639 \u062d\u0631"
        "\u0641. \U0001f319\n"
    ),
    (
        "Gauri \u0932\u093f\u0916\u0924\u0940 \u0939\u0948: \u0939\u0930 \u0905\u0915\u094d"
        "\u0937\u0930 \u0915\u0908 \u091a\u093f\u0939\u094d\u0928\u094b\u0902 \u0938\u0947 "
        "\u092c\u0928\u0924\u093e \u0939\u0948. \u0938\u092c \u0915\u0941\u091b \u092a"
        "\u0939\u0941\u0901\u091a\u0924\u093e \u0939\u0948. \U0001f1ee\U0001f1f3\n"
    ),
    (
        "H\u00e9ctor escribe: \u00a1ma\u00f1ana ser\u00e1 otro d\u00eda! El ping\u00fcino "
        "y la cig\u00fce\u00f1a firmaron un acuerdo \U0001f427. La familia \U0001f468\u200d"
        "\U0001f469\u200d\U0001f467\u200d\U0001f466 lo celebr\u00f3. Z\u0351\u0343\u030d "
        "alg\u00f3 tambi\u00e9n.\n"
    ),
)


class _Author:
    """Collects what one author does."""

    def __init__(self, agent: int) -> None:
        self.agent = agent
        self.moves: list[Move] = []
        self.first: list[Place] = []
        self._count = 0
        self._needs: tuple[tuple[int, int], ...] = ()

    def wait_for(self, needs: tuple[tuple[int, int], ...]) -> None:
        """Let the next move wait."""
        self._needs = needs

    def _do(self, part: Insertion | Deletion) -> None:
        self.moves.append(Move((part,), self._needs))
        self._needs = ()

    def type(self, text: str, after: Place | None) -> list[Place]:
        """Type a text, one code point at a time, with errors that are corrected; give its places."""
        places: list[Place] = []
        for number, character in enumerate(text, start=1):
            if number % SLIP_EVERY == 0 and character.isascii():
                self._slip(places[-1])
            places.append(self._put(character, places[-1] if places else after))
        return places

    def _slip(self, after: Place) -> None:
        wrong: list[Place] = []
        for character in SLIP:
            wrong.append(self._put(character, wrong[-1] if wrong else after))
        for place in reversed(wrong):
            self.delete(place)

    def _put(self, character: str, after: Place | None) -> Place:
        self._do(Insertion(after, character))
        self._count += 1
        return Place(self.agent, self._count - 1)

    def delete(self, place: Place) -> None:
        """Delete a character, whoever typed it."""
        self._do(Deletion((place,)))


def make_script(agents: int) -> Script:
    """Make up what so many authors type."""
    authors = [_Author(agent) for agent in range(agents)]
    for author in authors:
        author.first = author.type(PASSAGES[author.agent % len(PASSAGES)], None)
    counts = [len(author.moves) for author in authors]
    for author in authors:
        author.wait_for(
            tuple((other, count) for other, count in enumerate(counts) if other != author.agent)
        )
        host = (author.agent + 1) % agents
        passage = PASSAGES[host % len(PASSAGES)]
        gap = authors[host].first[_middle(passage)]
        author.type(
            " \u2039" + PASSAGES[(author.agent + 3) % len(PASSAGES)].strip() + "\u203a", gap
        )
        author.delete(authors[host].first[-1])
    return Script(moves=tuple(tuple(author.moves) for author in authors))


def _middle(passage: str) -> int:
    """Find a blank, or else a full stop, near the middle of a passage."""
    words = [len(list(group)) for _, group in groupby(passage, key=lambda each: each in " \u3002")]
    position = 0
    for length in words:
        if position >= len(passage) // 2:
            break
        position += length
    return min(position, len(passage) - 1) - 1
