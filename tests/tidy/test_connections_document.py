"""`docs/connections.md` shows the tables that the code has."""

import re

from domain.connectivity.lifecycle import State
from scripts.diagram import DOCUMENT, diagram, drawn_into


def test_generated_parts_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert drawn_into(text) == text, "run `python -m scripts.diagram`"


def test_diagram_shows_every_state_and_a_way_out_of_it() -> None:
    arrows = re.findall(r"(\w+) --> (\w+):", diagram())
    names = {state.name for state in State}
    assert {start for start, _ in arrows} == names
    assert {end for _, end in arrows} == names
