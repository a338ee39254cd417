"""Two in one house, which know nothing of each other: whether they meet by the local network alone."""

import time
from typing import Any, Final

from scripts.lab.processes import Lab, LabNode, until

FOUND_S_MAX: Final = 20.0
LISTEN: Final = ("--lan", "announce", "--listen")


async def meet_nearby(lab: Lab) -> dict[str, Any]:
    """Let two share a document, then come back at other ports than they know of each other, with no server."""
    with _at(lab, "ka", 5_001) as right, _at(lab, "ha", 5_002) as left:
        document = str((await right.ask("create", name="near"))["document"])
        await right.write(document, "founded")
        await left.ask("join", invite=(await right.ask("invite", document=document))["invite"])
        is_there = await until(lambda: _shows(left, document, "founded"), within_s=FOUND_S_MAX)
    with _at(lab, "ka", 6_001) as right, _at(lab, "ha", 6_002) as left:
        started = time.monotonic()
        await right.write(document, "again")
        is_found = await until(lambda: _shows(left, document, "again"), within_s=FOUND_S_MAX)
        return {
            "ok": is_there and is_found,
            "stall_ms": round(1_000 * (time.monotonic() - started)),
            "lost": 0 if is_found else 1,
            "path": await left.path_to(right.peer),
        }


def _at(lab: Lab, host: str, port: int) -> Any:  # noqa: ANN401 - a context manager
    return lab.alone(host, f"near-{host}", [*LISTEN, f"[::]:{port}"])


async def _shows(node: LabNode, document: str, line: str) -> bool:
    return line in await node.text(document)
