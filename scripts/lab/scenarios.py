"""What goes wrong in the lab, by name; each gives whether it went well, the longest stall, and what was lost."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from scripts.lab.processes import Lab

Scenario = Callable[[Lab], Awaitable[dict[str, Any]]]
SCENARIOS: Final[dict[str, Scenario]] = {}
