"""The commands about members, devices, invites, secrets and keys, as a person uses them."""

import os
import pty
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.node.process import call, command, culm, environment, running, said, until

WAIT_S = 30.0


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def members(data: Path) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = said(data, "members", "notes")["members"]
    return listed


def test_a_device_is_let_in_once_its_code_was_confirmed(here: Path, there: Path) -> None:
    with running(here, "run", "--json") as node:
        node.line()
        said(here, "create", "notes")
        invite = said(here, "invite", "notes", "--confirm")["invite"]
        assert said(here, "waiting", "notes")["waiting"] == []
        with running(there, "join", invite, "--json") as joining:
            until(lambda: said(here, "waiting", "notes")["waiting"], "nobody waits")
            [waiting] = said(here, "waiting", "notes")["waiting"]
            assert waiting["code"].replace(" ", "") in call(
                here, "waiting", "notes"
            ).stdout.replace(" ", "")
            code = waiting["code"].replace(" ", "")
            wrong = f"{(int(code) + 1) % 10**6:06}"
            assert call(here, "confirm", "notes", wrong).exit_code == 2
            confirmed = said(here, "confirm", "notes", code[:3], code[3:])
            assert confirmed["peer"] == waiting["peer"]
            answer = joining.json()
            while "synced" not in answer:
                answer = joining.json()
        assert said(here, "waiting", "notes")["waiting"] == []
        assert {each["peer"] for each in members(here)} >= {waiting["peer"]}


def test_a_revoked_invite_lets_nobody_in(here: Path, there: Path) -> None:
    with running(here, "run", "--json") as node:
        node.line()
        said(here, "create", "notes")
        invite = call(here, "invite", "notes").stdout.strip()
        assert re.fullmatch(r"[0-9a-f]{8} revoked\n", call(here, "revoke", "notes", invite).stdout)
        refused = call(there, "join", invite)
        assert refused.exit_code == 4
        assert "revoked" in refused.stderr
        other = said(here, "invite", "notes")["invite"]
        assert culm(here, "revoke", "notes", "-", stdin=f"{other}\n").returncode == 0
        assert call(there, "join", other).exit_code == 4
        assert call(here, "revoke", "notes", "garbage").exit_code == 2
        assert len(members(here)) == 1


def test_a_second_device_is_one_of_the_same_person(here: Path, there: Path) -> None:
    with running(here, "run", "--json") as node:
        node.line()
        said(here, "create", "notes")
        own = call(here, "add-device", "notes", "--role", "read").stdout.strip()
        assert said(there, "join", own)["role"] == "read"
        listed = said(here, "devices", "notes", "--name", "red laptop", "--can", "mirror")
        first, second = sorted(listed["devices"], key=lambda each: not each["is_own"])
        assert first["person"] == second["person"] == first["peer"]
        assert (first["name"], first["capabilities"]) == ("red laptop", ["mirror"])
        assert (second["name"], second["role"]) == ("", "read")
        table = call(here, "devices", "notes").stdout
        assert "red laptop" in table
        assert "this device" in table
        for bad in ("two\nlines", "x" * 200):
            assert call(here, "devices", "notes", "--name", bad).exit_code == 2
        assert call(here, "remove", "notes", second["peer"], "--yes").exit_code == 0
        assert len(members(here)) == 1


def test_rotating_makes_a_new_secret_and_who_may_only_read_cannot(here: Path, there: Path) -> None:
    with running(here, "run", "--json") as node:
        node.line()
        document = said(here, "create", "notes")["document"]
        said(there, "join", said(here, "invite", "notes", "--role", "read")["invite"])
        assert call(here, "rotate", "notes").stdout == f"{document}\n"
        refused = call(there, "rotate", "notes")
        assert refused.exit_code == 4
        assert "may write" in refused.stderr


def typed(data: Path, words: Sequence[str], answers: Sequence[str]) -> tuple[int, str]:
    """Run a command at a terminal, on which somebody types; give its exit code and all that the terminal showed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(data, tuple(words)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        start_new_session=True,  # without a terminal of its own, it reads from stdin
    ) as process:
        os.close(theirs)
        shown = b""
        waiting = list(answers)
        while True:
            try:
                part = os.read(ours, 4_096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
            if waiting and shown.rstrip(b" ").endswith(b":"):
                shown += b"\n"
                os.write(ours, f"{waiting.pop(0)}\n".encode())
        code = process.wait(WAIT_S)
    os.close(ours)
    return code, shown.decode()


def test_keys_are_locked_by_a_passphrase_that_is_typed(here: Path, tmp_path: Path) -> None:
    call(here, "create", "notes")
    code, shown = typed(here, ["passphrase"], ["open sesame", "open sesame"])
    assert (code, "the keys are locked" in shown, "sesame" in shown) == (0, True, False)
    assert call(here, "documents").exit_code == 1
    kept = tmp_path / "passphrase"
    kept.write_text("open sesame\n")
    kept.chmod(0o600)
    documents = said(here, "documents", CULM_PASSPHRASE_FILE=str(kept))
    assert [each["name"] for each in documents["documents"]] == ["notes"]
    code, shown = typed(here, ["passphrase", "--remove"], ["wrong"])
    assert code == 1
    code, shown = typed(here, ["passphrase"], ["open sesame", "one", "other"])
    assert (code, "differ" in shown) == (2, True)
    code, shown = typed(here, ["passphrase", "--remove"], ["open sesame"])
    assert (code, "not locked any more" in shown) == (0, True)
    assert call(here, "documents").exit_code == 0
    assert call(here, "passphrase").exit_code == 2  # nobody types here
