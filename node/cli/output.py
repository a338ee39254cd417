"""What goes to the terminal: answers to stdout, all else to stderr; names of others without control characters."""

import json
import sys
from collections.abc import Mapping, Sequence

import typer


def say(text: str) -> None:
    """Tell the person something that is no answer; what others said in it is made harmless."""
    typer.echo(plain_lines(text), err=True)


def answer(text: str) -> None:
    """Give an answer, as it is."""
    typer.echo(text)
    sys.stdout.flush()


def say_json(value: Mapping[str, object]) -> None:
    """Give an answer as one line of JSON."""
    answer(json.dumps(value, separators=(", ", ": ")))


def plain(text: str) -> str:
    """Make text of others harmless for a terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def plain_lines(text: str) -> str:
    """Do the same with text of several lines."""
    return "\n".join(map(plain, text.split("\n")))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns."""
    lines = [list(heads), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def short(identifier: object) -> str:
    """Shorten an id for people; eight digits tell documents apart."""
    return str(identifier)[:8]
