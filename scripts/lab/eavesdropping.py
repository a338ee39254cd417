"""What the rendezvous, the STUN server and the relay see: every frame to and from them, and what must not be in it."""

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from scripts.lab.processes import Lab, LabNode, until

MEET_S_MAX: Final = 30.0
CAPTURED_BYTES_MIN: Final = 20_000
"""Of each house: a handshake with the rendezvous, one over the relay, and what is written there."""
WORDS: Final = ("a-name-for-nobody-else", "founded-in-secret", "answered-in-secret")


async def listen_in(lab: Lab) -> dict[str, Any]:
    """Let two share a document over the relay, and look for what nobody but they may know in all that was sent."""
    with tempfile.TemporaryDirectory() as directory, lab.houses("symmetric", "symmetric") as nodes:
        captures = [Path(directory, f"{side}.pcap") for side in ("a", "b")]
        for side, file in zip(("a", "b"), captures, strict=True):
            lab.topology.wires[side].capture(file)
        left, right = nodes
        name, founded, answered = WORDS
        document = str((await right.ask("create", name=name))["document"])
        await right.write(document, founded)
        await left.ask("join", invite=(await right.ask("invite", document=document))["invite"])
        is_there = await until(lambda: _shows(left, document, founded), within_s=MEET_S_MAX)
        await left.write(document, answered)
        is_there &= await until(lambda: _shows(right, document, answered), within_s=MEET_S_MAX)
        path = await left.path_to(right.peer)
        seen = [each.read_bytes() for each in captures]
    secrets = [*WORDS, document, left.peer, right.peer]
    found = [
        secret
        for secret in secrets
        for form in _forms(secret)
        if any(form in each for each in seen)
    ]
    is_whole = all(len(each) >= CAPTURED_BYTES_MIN for each in seen)
    return {
        "ok": is_there and is_whole and path == "relayed" and not found,
        "stall_ms": 0,
        "lost": 0 if is_there else 1,
        "path": path,
        "captured_bytes": [len(each) for each in seen],
        "found": found,
    }


def _forms(secret: str) -> Iterator[bytes]:
    """Give what a word or an identifier may look like on a wire."""
    yield secret.encode()
    try:
        plain = bytes.fromhex(secret)
    except ValueError:
        plain = secret.encode()
    yield plain
    yield plain.hex().encode()
    yield base64.b64encode(plain).rstrip(b"=")
    yield base64.b32encode(plain).rstrip(b"=")


async def _shows(node: LabNode, document: str, line: str) -> bool:
    return line in await node.text(document)
