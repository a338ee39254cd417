"""The command as a person uses it: real processes, real signals, files and loopback."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from node.cli.failure import ExitCode
from node.cli.output import say
from node.wiring.system import DATABASE_FILE
from tests.node.process import (
    WAIT_S,
    call,
    command,
    culm,
    environment,
    free_address,
    running,
    said,
    until,
    until_equal,
)

INVITE = re.compile(r"culm1[A-Za-z0-9_-]+")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


# Two files


def test_two_files_stay_equal_across_restarts(here: Path, there: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "notes.md", tmp_path / "copy.md"
    ours.write_text("start\n")
    at = {"CULM_LISTEN": free_address()}
    with running(here, "share", str(ours), **at) as sharing:
        invite = sharing.line()
        assert INVITE.fullmatch(invite)
        with running(there, "join", invite, str(theirs)) as joining:
            until_equal(ours, theirs, having="start")
            theirs.write_text("start\nthere\n")
            until_equal(ours, theirs, having="start there")
            ours.write_text("here\n" + ours.read_text())
            until_equal(ours, theirs, having="here start there")
            [document] = said(here, "documents")["documents"]
            assert said(there, "cat", document["document"][:8])["text"] == ours.read_text()
            assert joining.stop(signal.SIGINT) == 0
        ours.write_text(ours.read_text() + "alone\n")
        theirs.write_text("offline\n" + theirs.read_text())
        with running(there, "join", invite, str(theirs)):
            until_equal(ours, theirs, having="offline here start there alone")
        assert sharing.stop(signal.SIGTERM) == 0
    ours.write_text(ours.read_text() + "away\n")
    with running(there, "share", str(theirs)), running(here, "share", str(ours), **at) as again:
        assert again.line() != invite
        until_equal(ours, theirs, having="offline here start there alone away")


def test_mirror_of_a_running_node_ends_with_the_command(here: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("x")
    with running(here, "run", "--json") as node:
        node.line()
        with running(here, "share", str(path)) as sharing:
            sharing.line()
            assert said(here, "status")["mirrored"] == [str(path)]
            assert sharing.stop(signal.SIGINT) == 0
        until(lambda: said(here, "status")["mirrored"] == [])
        assert node.stop() == 0


def test_file_with_text_needs_merge(here: Path, there: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "notes.md", tmp_path / "copy.md"
    ours.write_text("ours\n")
    theirs.write_text("theirs\n")
    with running(here, "share", str(ours)) as sharing:
        invite = sharing.line()
        refused = culm(there, "join", invite, str(theirs))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "--merge" in refused.stderr
        with running(there, "join", invite, str(theirs), "--merge"):
            until_equal(ours, theirs, having="ours theirs")


# A node that runs


def test_running_node_says_where_it_is_and_takes_commands(here: Path, there: Path) -> None:
    with running(here, "run", "--json") as node:
        status = node.json()
        assert status["peer"] == said(here, "status")["peer"]
        created = said(here, "create", "notes")
        assert [created["document"]] == [
            each["document"] for each in said(here, "documents")["documents"]
        ]
        invite = call(here, "invite", "notes").stdout
        assert INVITE.fullmatch(invite.rstrip("\n"))
        joined = culm(there, "join", "-", "--json", stdin=invite)
        assert json.loads(joined.stdout)["synced"]
        with running(here, "watch", "--json") as watching:
            assert watching.json()["event"] == "watching"
            assert watching.stop(signal.SIGINT) == 0
        assert call(here, "status").exit_code == 0
        socket_mode = (here / "control").stat().st_mode
        assert stat.S_ISSOCK(socket_mode)
        assert socket_mode & 0o777 == 0o600
        assert node.stop() == 0
        assert node.errors() == ""
    assert not (here / "control").exists()


def test_text_output_of_a_running_node_is_for_people(here: Path) -> None:
    call(here, "create", "my \x1b[31mnotes")
    with running(here, "run") as node:
        assert re.fullmatch(r"peer [0-9a-f]{64}", node.line())
        assert re.fullmatch(r"listening on 127\.0\.0\.1:[0-9]+", node.line())
        assert re.fullmatch(
            "document [0-9a-f]{8} my \N{REPLACEMENT CHARACTER}\\[31mnotes", node.line()
        )
        assert "NAME" in call(here, "documents").stdout
        assert "STATE" in call(here, "peers").stdout
        assert "role manage" in call(here, "status").stdout


def test_second_node_on_a_data_directory_is_refused(here: Path) -> None:
    with running(here, "run", "--json") as node:
        node.line()
        second = culm(here, "run")
        assert second.returncode == 1
        assert "already" in second.stderr


def test_killed_node_leaves_nothing_in_the_way(here: Path) -> None:
    with running(here, "run", "--json") as node:
        node.line()
        assert node.stop(signal.SIGKILL) == -signal.SIGKILL
    assert (here / "control").exists()
    assert said(here, "documents") == {"documents": [], "damaged": []}
    with running(here, "run", "--json") as node:
        assert node.json()["documents"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_node_in_good_order(here: Path, there: Path, number: int) -> None:
    call(here, "create", "notes")
    with running(here, "run", "--json") as node, running(there, "run", "--json") as other:
        node.line(), other.line()
        said(there, "join", said(here, "invite", "notes")["invite"])
        with running(there, "watch", "--json") as watching:
            assert watching.json()["event"] == "watching"
            assert node.stop(number) == 0
            assert node.errors() == ""
            event = watching.json()
            while event["event"] != "peer-disconnected":
                event = watching.json()
            assert (event["code"], event["by_peer"]) == (16, True)


def test_service_manager_is_told(here: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        with running(here, "run", NOTIFY_SOCKET=str(tmp_path / "notify")) as node:
            assert manager.recv(100) == b"READY=1"
            assert said(here, "documents") == {"documents": [], "damaged": []}
            node.stop()
            assert manager.recv(100) == b"STOPPING=1"


def test_control_socket_works_in_a_deep_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    with running(deep, "run", "--json") as node:
        node.line()
        assert said(deep, "create", "notes")["name"] == "notes"


def test_two_commands_at_once_wait_for_each_other(here: Path) -> None:
    with (
        running(here, "create", "one", "--json") as one,
        running(here, "create", "two", "--json") as two,
    ):
        assert {one.json()["name"], two.json()["name"]} == {"one", "two"}
    names = {each["name"] for each in said(here, "documents")["documents"]}
    assert names == {"one", "two"}


# What goes wrong


def test_failure_has_its_exit_code_and_one_message(here: Path, tmp_path: Path) -> None:
    assert call(here, "create", "notes").exit_code == 0
    gone = call(here, "invite", "notes").stdout.strip()
    expected = {
        (2, "no document"): ("cat", "nowhere"),
        (2, "no invite"): ("join", "garbage"),
        (3, "nobody answered"): ("join", gone),
        (1, "does not exist"): ("share", str(tmp_path / "missing.md")),
        (2, "add --yes"): ("forget", "notes"),
    }
    for (code, words), given in expected.items():
        data = tmp_path / "there" if given[0] == "join" else here
        failed = call(data, *given)
        assert (failed.exit_code, failed.stdout) == (code, ""), given
        assert failed.stderr.startswith("culm: "), given
        assert words in failed.stderr
        assert "Traceback" not in failed.stderr


def test_refused_invite_has_its_own_exit_code(here: Path, there: Path, tmp_path: Path) -> None:
    with running(here, "run", "--json") as node:
        node.line()
        said(here, "create", "notes")
        invite = said(here, "invite", "notes")["invite"]
        said(there, "join", invite)
        refused = call(tmp_path / "late", "join", invite, "--json")
        assert refused.exit_code == 4
        assert json.loads(refused.stdout)["error"]["exit_code"] == 4


def test_failure_is_json_as_well(here: Path) -> None:
    failed = call(here, "cat", "nowhere", "--json")
    error = json.loads(failed.stdout.splitlines()[-1])["error"]
    assert (error["type"], error["exit_code"]) == ("UnknownDocumentError", 2)


def test_what_is_no_command_is_json_as_well(here: Path) -> None:
    for words in (("documents", "--nonsense"), ("cat",), ("nothing",)):
        failed = culm(here, *words, "--json")
        assert failed.returncode == 2
        assert json.loads(failed.stdout)["error"]["exit_code"] == 2
        assert "Usage: " in failed.stderr


def test_what_others_say_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    say("culm: \x1b[2J\x1b]0;title\x07 closed\nby the peer")
    assert capsys.readouterr().err == "culm: \ufffd[2J\ufffd]0;title\ufffd closed\nby the peer\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_question_for_a_passphrase(
    here: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """At once, and the terminal echoes again."""
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    assert call(here, "create", "notes", CULM_PASSPHRASE_FILE=str(secret)).exit_code == 0
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen, os.fdopen(theirs, "rb") as terminal:
        process = subprocess.Popen(
            command(here, ("documents",)),
            stdin=terminal, stdout=terminal, stderr=terminal, env=environment(),
        )  # fmt: skip
        shown = b""
        while b"passphrase" not in shown:
            shown += screen.read(1_000)
        assert not termios.tcgetattr(terminal)[3] & termios.ECHO
        process.send_signal(number)
        assert process.wait(WAIT_S) == 1
        assert termios.tcgetattr(terminal)[3] & termios.ECHO
        shown += screen.read(1_000)
    assert b"stopped before it was done" in shown


def test_passphrase_is_asked_for_at_a_terminal(here: Path, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    assert call(here, "create", "notes", CULM_PASSPHRASE_FILE=str(secret)).exit_code == 0
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as screen, os.fdopen(theirs, "rb") as terminal:
        process = subprocess.Popen(
            command(here, ("documents",)),
            stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, env=environment(),
        )  # fmt: skip
        while b"passphrase" not in screen.read(1_000):
            pass
        screen.write(b"correct horse\n")
        shown, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0
    assert b"notes" in shown


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_command_bears_streams_that_are_closed(here: Path, closed: str) -> None:
    words = command(here, ("create", "notes"))
    subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words], env=environment(), check=True
    )
    assert [each["name"] for each in said(here, "documents")["documents"]] == ["notes"]


@pytest.mark.parametrize("given", ["/dev/zero", "text"])
@pytest.mark.parametrize("words", [("join", "-"), ("revoke", "notes", "-")])
def test_what_is_no_invite_is_not_read_for_ever(
    here: Path, tmp_path: Path, words: tuple[str, ...], given: str
) -> None:
    call(here, "create", "notes")
    (tmp_path / "text").write_bytes(b"culm1\xff\n")
    with (tmp_path / given).open() as stdin:
        failed = subprocess.run(
            command(here, words),
            env=environment(PYTHONIOENCODING="utf-8:strict"),
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
    assert failed.returncode == ExitCode.USAGE
    assert "this is no invite" in failed.stderr


@pytest.mark.parametrize("words", [("--version",), ("nonsense", "--json")])
def test_answer_that_cannot_be_written_is_a_failure_in_one_line(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        failed = subprocess.run(
            command(None, words),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (failed.returncode, failed.stderr.splitlines()[-1:]) == (
        1,
        ["culm: the answer cannot be written: No space left on device"],
    )
    assert "Traceback" not in failed.stderr


def test_debug_shows_the_traceback(here: Path) -> None:
    assert "Traceback" in call(here, "cat", "nowhere", "--debug").stderr


def test_empty_data_directory_is_an_error_and_not_where_one_is() -> None:
    assert call(None, "documents", "--data", "").exit_code == ExitCode.USAGE


@pytest.mark.parametrize("data", ["file", "file/below"])
def test_data_directory_that_cannot_be_one_is_an_error(tmp_path: Path, data: str) -> None:
    (tmp_path / "file").write_text("x")
    failed = call(tmp_path / data, "documents")
    assert failed.exit_code == 1
    assert "data directory" in failed.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_data_directory_that_may_not_be_written_is_an_error(here: Path) -> None:
    assert call(here, "create", "notes").exit_code == 0
    here.chmod(0o500)
    failed = call(here, "documents")
    here.chmod(0o700)
    assert failed.exit_code == 1
    assert "may not be written" in failed.stderr


def test_unknown_setting_is_an_error_of_use(here: Path) -> None:
    here.mkdir()
    (here / "culm.toml").write_text('lisen = "127.0.0.1:0"')
    failed = call(here, "documents")
    assert failed.exit_code == 2
    assert "did you mean listen?" in failed.stderr
    assert call(None, "config", CULM_LISEN="x").exit_code == 2


def test_address_in_use_is_a_failure(here: Path, there: Path) -> None:
    address = free_address()
    with running(here, "run", "--json", CULM_LISTEN=address) as node:
        node.line()
        failed = call(there, "run", CULM_LISTEN=address)
        assert failed.exit_code == 1
        assert address in failed.stderr


# The rest


def test_config_shows_value_and_origin(here: Path) -> None:
    settings = json.loads(call(here, "config", "--log-level", "info", "--json").stdout)
    assert settings["log_level"] == {"value": "info", "origin": "flag --log-level"}
    assert settings["listen"]["origin"] == "environment CULM_LISTEN"
    assert "ORIGIN" in call(here, "config").stdout


def test_log_is_json_on_stderr_if_asked_for(here: Path) -> None:
    done = call(here, "create", "notes", "--log-format", "json", "-vv", "--json")
    assert len(done.stdout.splitlines()) == 1
    for line in done.stderr.splitlines():
        assert {"time", "level", "event"} <= json.loads(line).keys()


def test_cat_gives_the_text_and_nothing_else(here: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("no line end 😀")
    call(here, "import", str(path))
    assert call(here, "cat", "a").stdout == "no line end 😀"


def test_forget_with_yes_deletes(here: Path) -> None:
    assert call(here, "create", "notes").exit_code == 0
    assert json.loads(call(here, "forget", "notes", "--yes", "--json").stdout)["name"] == "notes"
    assert said(here, "documents") == {"documents": [], "damaged": []}


def test_damaged_document_is_listed_with_the_reason_and_can_be_forgotten(here: Path) -> None:
    kept, damaged = (said(here, "create", name)["document"] for name in ("kept", "damaged"))
    with contextlib.closing(sqlite3.connect(here / DATABASE_FILE)) as database:
        of_it = (bytes.fromhex(damaged),)
        [(sealed,)] = database.execute("SELECT sealed FROM documents WHERE document_id = ?", of_it)
        spoilt = bytes([*sealed[:-1], sealed[-1] ^ 1])
        database.execute("UPDATE documents SET sealed = ? WHERE document_id = ?", (spoilt, *of_it))
        database.commit()
    for asked in ("documents", "status"):
        listed = said(here, asked)
        assert [each["document"] for each in listed["documents"]] == [kept]
        assert [each["document"] for each in listed["damaged"]] == [damaged]
        shown = call(here, asked)
        assert "cannot be opened" in shown.output
        assert "Traceback" not in shown.stderr
    failed = call(here, "cat", damaged[:8])
    assert failed.exit_code == 1
    assert "cannot be opened" in failed.stderr
    said(here, "forget", damaged[:8], "--yes")
    assert [each["document"] for each in said(here, "documents")["documents"]] == [kept]
    assert said(here, "documents")["damaged"] == []


def test_help_has_an_example_for_every_command() -> None:
    overview = call(None, "--help").stdout
    names = re.findall(r"^  ([a-z]+) ", overview.partition("Commands:")[2], flags=re.MULTILINE)
    assert {"run", "create", "invite", "join", "share", "documents", "cat", "watch"} <= set(names)
    assert {"peers", "status", "export", "import", "backup", "forget", "config", "demo"} <= set(
        names
    )
    for name in set(names) - {"demo"}:
        assert f"Example:\n    culm {name}" in call(None, name, "--help").stdout


def test_help_loads_no_engine() -> None:
    code = "import sys, node.cli.application; print({'pycrdt', 'sqlite3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
