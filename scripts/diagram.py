"""Draw the tables of the life cycle into docs/connections.md: the states as a Mermaid diagram, the rest as tables.

    python -m scripts.diagram

`tests/tidy/test_connections_document.py` fails while the document and the code differ.
"""

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from transitions.extensions import GraphMachine

from domain.connectivity.lifecycle import TRANSITIONS, State, Step
from domain.connectivity.strategy import STRATEGIES

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "connections.md"
TYPICAL: Final = (State.CONNECTING, State.ACTIVE, State.CLOSING, State.CLOSED)
"""Of the steps that may come in more than six states only the arrows from these are drawn: all would hide the rest."""
STATES_MAX: Final = 6


def diagram() -> str:
    """The states and the steps between them."""
    machine = GraphMachine(
        states=State,
        transitions=[
            {"trigger": step.value, "source": source, "dest": state}
            for step, sources, state in TRANSITIONS
            for source in sources
            if len(sources) <= STATES_MAX or source in TYPICAL
        ],
        initial=State.DISCONNECTED,
        auto_transitions=False,
        graph_engine="mermaid",
        title="",
    )
    drawn = machine.get_combined_graph().draw(None)
    assert drawn is not None
    lines = drawn.splitlines()
    kept = [line.rstrip() for line in lines if not re.match(r"\s*(class|Class|classDef)\b", line)]
    start = next(number for number, line in enumerate(kept) if line.startswith("stateDiagram"))
    return "\n".join(["```mermaid", *(line for line in kept[start:] if line.strip()), "```"])


def states() -> str:
    """What each state means."""
    return _table(
        ("state", "means"), [(f"`{state.value}`", _told(State, state)) for state in State]
    )


def steps() -> str:
    """Every step, where it may come from, and where it leads."""
    rows = [
        (
            f"`{step.value}`",
            _told(Step, step),
            " ".join(f"`{source.value}`" for source in sources),
            f"`{state.value}`",
        )
        for step, sources, state in TRANSITIONS
    ]
    return _table(("step", "when", "from", "to"), rows)


def strategies() -> str:
    """What is done about each error."""
    rows = [
        (
            f"`{error.__name__}`",
            strategy.action.value,
            "yes" if strategy.is_counted else "no",
            f"{strategy.floor_s:g} s" if strategy.floor_s else "",
            "yes" if strategy.is_security else "",
            strategy.because,
        )
        for error, strategy in STRATEGIES.items()
    ]
    return _table(("error", "action", "counted", "at least", "security", "because"), rows)


PARTS: Final = {"diagram": diagram, "states": states, "steps": steps, "strategies": strategies}


def drawn_into(text: str) -> str:
    """The document with every generated part as the code has it."""
    for name, draw in PARTS.items():
        before, opening, rest = text.partition(f"<!-- {name} -->\n")
        _, closing, after = rest.partition("<!-- end -->")
        assert opening, f"{DOCUMENT.name} has no place for {name}"
        assert closing, f"the place for {name} has no end in {DOCUMENT.name}"
        text = f"{before}{opening}\n{draw()}\n\n{closing}{after}"
    return text


def _told(kind: type[Enum], member: Enum) -> str:
    """The docstring below a member of an enumeration, in one line."""
    source = (Path(__file__).parents[1] / "domain/connectivity/lifecycle.py").read_text()
    body = source[source.index(f"class {kind.__name__}(Enum)") :]
    found = re.search(rf'    {member.name} = ".*?"\n    """(.*?)"""', body, flags=re.DOTALL)
    assert found, f"{member} says nothing"
    return " ".join(found[1].split())


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    written = [
        "|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines
    ]
    return "\n".join(written).replace(" --- ", "---")


if __name__ == "__main__":
    DOCUMENT.write_text(drawn_into(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
