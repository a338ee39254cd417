"""Updates that were made elsewhere: what is taken in is there to stay, and what is not is refused."""

import random
from typing import Any

import pytest
from pycrdt import Doc, Text

from domain.errors import UpdateError
from node.mirror import BODY
from tests.simulation.test_membership import Circle, play


def made_elsewhere(chance: random.Random) -> tuple[list[bytes], str]:
    """Updates that build on one another, and what they say together."""
    doc = Doc[Any](client_id=77)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text: Text = doc.get(BODY, type=Text)
    text += "made elsewhere"
    for number in range(4):
        start = chance.randrange(len(text) - 1)
        if number % 2:
            text.insert(start, "more ")
        else:
            del text[start : start + 2]
    doc.unobserve(subscription)
    return updates, str(text)


def test_import_is_refused_until_what_it_builds_on_is_here(seed: int) -> None:
    updates, whole = made_elsewhere(random.Random(seed))

    async def story(circle: Circle) -> None:
        alice = circle["alice"]
        for update in reversed(updates[1:]):
            with pytest.raises(UpdateError, match="incomplete"):
                alice.import_update(update)
        await alice.durable()
        assert str(alice.text(BODY)) == ""
        for update in (*updates, *updates):
            alice.import_update(update)
        await alice.durable()
        assert str(alice.text(BODY)) == whole

    play(seed, story, ("alice",))
