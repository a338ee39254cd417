"""Asking for a passphrase at the terminal, without echo, in a way that a signal can end."""

import asyncio
import os
import sys
import termios

from domain.errors import UsageError

LINE_BYTES_MAX = 4_096  # what a terminal gives of one line


async def ask_passphrase(question: str) -> str:
    """Ask at the terminal that stdin is. Cancelled or not, it echoes again afterwards.

    Raises:
        UsageError: Nothing was typed, or it is not UTF-8.
    """
    loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = list(before)
    silent[3] &= ~termios.ECHO
    typed = asyncio.Event()
    termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
    try:
        os.write(sys.stderr.fileno(), question.encode())
        loop.add_reader(terminal, typed.set)
        await typed.wait()
        line = os.read(terminal, LINE_BYTES_MAX)
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        os.write(sys.stderr.fileno(), b"\n")
    try:
        passphrase = line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("the passphrase is not UTF-8") from None
    if not passphrase:
        raise UsageError("no passphrase was given")
    return passphrase
