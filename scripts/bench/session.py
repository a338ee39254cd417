"""A made-up typing session, for a benchmark without a recorded one: the same for the same number of edits."""

import gzip
import json
import random
from pathlib import Path
from typing import Final

SEED: Final = 20_240_229
JUMP_SHARE: Final = 0.004  # how often the cursor goes elsewhere
DELETE_SHARE: Final = 0.25  # typing errors; automerge-paper has 30 %
LETTERS: Final = "etaoinshrdlucmfwypvbgkqjxz"


def write_session(path: Path, edits: int) -> None:
    """Write a trace of so many keystrokes."""
    chance = random.Random(SEED)
    text: list[str] = []
    cursor = 0
    transactions = []
    for _ in range(edits):
        if text and chance.random() < JUMP_SHARE:
            cursor = chance.randrange(len(text) + 1)
        if cursor and chance.random() < DELETE_SHARE:
            cursor -= 1
            del text[cursor]
            patch: list[object] = [cursor, 1, ""]
        else:
            letter = " " if chance.random() < 1 / 6 else chance.choice(LETTERS)
            text.insert(cursor, letter)
            patch = [cursor, 0, letter]
            cursor += 1
        transactions.append({"patches": [patch]})
    trace = {"startContent": "", "endContent": "".join(text), "txns": transactions}
    path.write_bytes(gzip.compress(json.dumps(trace).encode(), mtime=0))
