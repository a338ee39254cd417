"""Takes the fenced blocks out of a document, and runs them as a reader would.

The Python blocks of a document run from top to bottom in one namespace and may use top-level await:

    python tests/tidy/documents.py README.md

An HTML comment right above a fence says what is special about it: `<!-- not run: why -->` for a Python block that
is only to be read, `<!-- run -->` for a block of shell commands that are not only checked but carried out.
"""

import ast
import asyncio
import inspect
import re
import shlex
import sys
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BLOCK_S_MAX: Final = 60.0  # a reader would have given up long before
FENCE: Final = re.compile(r"(?P<indent>\s*)(?P<fence>`{3,}|~{3,})\s*(?P<language>[\w+-]*)")
COMMENT: Final = re.compile(r"\s*<!--\s*(?P<text>.*?)\s*-->\s*")
ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=.*")
SHELL: Final = frozenset({"console", "sh"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block; `line` is that of its opening fence, counted from 1; `comment` stands above it."""

    document: Path
    line: int
    language: str
    text: str
    comment: str

    @property
    def is_run(self) -> bool:
        """Whether it has to be carried out."""
        if self.language == "python":
            return not self.comment.startswith("not run:")
        return self.language in SHELL and self.comment == "run"

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document, in order."""
    return list(_blocks(document, document.read_text(encoding="utf-8")))


def _blocks(document: Path, text: str) -> Iterator[Block]:
    comment = ""
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        if opening := FENCE.match(line):
            inside = []
            for _, content in lines:
                if content.strip() == opening["fence"]:
                    break
                inside.append(content)
            yield Block(
                document=document,
                line=number,
                language=opening["language"],
                text=textwrap.dedent("\n".join(inside)) + "\n",
                comment=comment,
            )
        if line.strip():
            above = COMMENT.fullmatch(line)
            comment = above["text"] if above else ""


def run_python(document: Path) -> int:
    """Run the Python blocks of a document; returns how many there were."""
    module = types.ModuleType("__main__")
    todo = [block for block in blocks(document) if block.language == "python" and block.is_run]
    with asyncio.Runner() as runner:
        for block in todo:
            # The empty lines in front make a traceback name the line of the document.
            source = "\n" * block.line + block.text
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(source, str(document), "exec", flags=flags, dont_inherit=True)
            result = eval(code, module.__dict__)
            if inspect.iscoroutine(result):
                runner.run(asyncio.wait_for(result, BLOCK_S_MAX))
    return len(todo)


def shell_text(block: Block) -> str:
    """What a reader types of a block: in a console session, what follows the prompt `$ `."""
    if block.language != "console":
        return block.text
    typed: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ ") or (typed and typed[-1].endswith("\\")):
            typed.append(line.removeprefix("$ "))
    return "\n".join(typed) + "\n"


def commands(block: Block) -> list[list[str]]:
    """The single commands of a block, each as words, without variables set in front and without redirections."""
    joined = shell_text(block).replace("\\\n", " ")
    return [
        command
        for line in joined.splitlines()
        for part in _parts(line)
        if (command := _without_assignments(part))
    ]


def _parts(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    skip = False
    for word in lexer:
        if skip:  # the file of a redirection
            skip = False
        elif set(word) <= set("();&|"):
            parts.append([])
        elif set(word) <= set("<>&"):
            skip = True
        else:
            parts[-1].append(word)
    return parts


def _without_assignments(words: list[str]) -> list[str]:
    while words and ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    return words


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(f"{argument}: {run_python(Path(argument))} blocks run")
