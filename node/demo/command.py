"""The command `demo`: shows that nodes converge, on a terminal or as a line of JSON."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from node.demo.line import DemoError
from node.demo.stage import Audience, Demo, DemoReport, give, prepare

AUTHORS = ("Ada", "Bj\u00f6rn", "Chlo\u00e9", "Duc", "Emiko", "Fatima", "Gauri", "H\u00e9ctor")


class Screen(Audience):
    """Shows a bar for each author on a terminal; silent elsewhere."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._bars: dict[int, TaskID] = {}
        self._phase = self.progress.add_task("", total=None)

    def phase(self, text: str) -> None:
        """Say what goes on, once the bars of those who typed are full."""
        for bar in self._bars.values():
            self.progress.update(bar, completed=self.progress.tasks[bar].total)
        self.progress.update(self._phase, description=text)

    def expect(self, author: int, edits: int) -> None:
        """Add a bar."""
        self._bars[author] = self.progress.add_task(f"{AUTHORS[author]} types", total=edits)

    def typed(self, author: int, edits: int) -> None:
        """Move a bar on."""
        self.progress.update(self._bars[author], completed=edits)


def demo(
    *,
    authors: Annotated[
        int | None, typer.Option(min=2, max=8, help="How many nodes; two, or as the trace has.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Replay a recorded editing session (.json.gz).")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Keep the nodes' data here; otherwise it is thrown away.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Let several nodes edit one document at once, each in a process of its own, and check that they end equal."""
    with _directory(data) as directory:
        screen = Screen()
        prepared = prepare(directory, authors, trace)
        with screen.progress:
            report = asyncio.run(give(prepared, screen))
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), separators=(",", ":")) + "\n")
    else:
        Console().print(_table(prepared, report))
    if not report.is_ok:
        raise typer.Exit(1)


@contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    """Give a directory for the data, thrown away at the end unless one is named."""
    if data is not None:
        try:
            data.mkdir(parents=True, exist_ok=True)
            is_fresh = not any(data.iterdir())
        except OSError as error:
            raise DemoError(f"{data} cannot be used: {error.strerror or error}") from None
        if not is_fresh:
            raise DemoError(f"{data} is not empty: name a directory for this demonstration alone")
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="culm-demo-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def _table(demo_given: Demo, report: DemoReport) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    size, wire = report.update_bytes, report.wire_bytes
    p50, p99 = report.latency_ms_p50, report.latency_ms_p99
    latency = "-" if p50 is None else f"{p50:.1f} ms, of 1 in 100 over {p99:.1f} ms"
    end = {True: "yes", False: "[bold red]no", None: "not prescribed"}
    rows = {
        "nodes": f"{demo_given.authors}, each a process with its own keys and storage",
        "edits": f"{report.edits:,} in {report.seconds:.1f} s, {report.operations:,} signed operations",
        "until others see them": latency,
        "on the wire": f"{wire:,} bytes, {wire / max(1, size):.2f} of the {size:,} that pycrdt emitted",
        "all nodes equal": end[report.converged],
        "text as recorded": end[report.matches_end_content],
        "every character there": end[report.characters_ok],
        "equal after kill -9": end[report.restart_ok],
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
