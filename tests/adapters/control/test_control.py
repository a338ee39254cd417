import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.control.client import ControlClient
from adapters.control.error import (
    NodeNotAnsweringError,
    NodeNotRunningError,
    RemoteCommandError,
    describe,
    restore,
)
from adapters.control.frame import Request, decode_reply, decode_request, encode_request
from adapters.control.server import ControlServer
from domain import errors, limits
from domain.errors import (
    CodedError,
    ConnectionLostError,
    CulmError,
    DataDirectoryInUseError,
    HandshakeError,
    InviteError,
    NodeClosedError,
    OperationError,
    PeerError,
    StorageError,
    UsageError,
)
from tests.adapters.control.scripted import ERRORS, REPEAT, ScriptedHandler
from tests.adapters.control.serving import (
    WAIT_S,
    exists,
    mode_of,
    serving,
    until_idle,
)
from tests.contracts.command_handler import answers_of
from tests.descriptors import open_descriptors


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def handler() -> ScriptedHandler:
    return ScriptedHandler()


async def say(path: Path, data: bytes, *, ends: bool = False) -> Mapping[str, object] | None:
    """Send bytes as they are and read one line of what the node says, or None if it says nothing."""
    async with asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(data)
            if ends:
                writer.write_eof()
            line = await reader.readline()
            answer: Mapping[str, object] = json.loads(line) if line else {}
            return answer or None
        finally:
            writer.close()


class TestSocket:
    async def test_it_belongs_to_the_user_alone(self, path: Path, handler: ScriptedHandler) -> None:
        async with serving(path, handler):
            assert stat.S_IMODE(mode_of(path)) == 0o600

    async def test_it_is_gone_after_closing(self, path: Path, handler: ScriptedHandler) -> None:
        async with serving(path, handler) as server:
            pass
        assert not exists(path)
        await server.close()

    async def test_run_listens_until_cancelled(self, path: Path, handler: ScriptedHandler) -> None:
        server = ControlServer(path, handler)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(server.run())
            async with asyncio.timeout(WAIT_S):
                while not exists(path):  # noqa: ASYNC110 - files have no events
                    await asyncio.sleep(0.001)
                assert len(await answers_of(ControlClient(path), REPEAT)) == 3
            running.cancel()
        assert not exists(path)

    async def test_that_of_a_dead_process_is_replaced(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with serving(path, handler):
            assert len(await answers_of(ControlClient(path), REPEAT)) == 3

    async def test_that_of_a_living_process_is_not(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            with pytest.raises(DataDirectoryInUseError):
                await ControlServer(path, handler).start()
            assert len(await answers_of(ControlClient(path), REPEAT)) == 3

    def test_something_else_in_its_place_is_left_alone(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        path.write_text("mine")
        with pytest.raises(StorageError, match="something else"):
            asyncio.run(ControlServer(path, handler).start())
        assert path.read_text() == "mine"

    async def test_a_missing_directory_is_told(
        self, tmp_path: Path, handler: ScriptedHandler
    ) -> None:
        with pytest.raises(StorageError):
            await ControlServer(tmp_path / "gone" / "control.sock", handler).start()

    @pytest.mark.parametrize("length", [70, 100, 104, 108, 120, 250, 600, 2_000])
    async def test_a_path_of_any_length_will_do(
        self, tmp_path: Path, handler: ScriptedHandler, length: int
    ) -> None:
        directory = tmp_path
        while len(os.fsencode(directory)) < length:
            missing = length - len(os.fsencode(directory))
            directory /= "d" * min(200, max(1, missing - 1))
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "control.sock"
        before = open_descriptors()
        async with serving(path, handler):
            assert len(await answers_of(ControlClient(path), REPEAT)) == 3
            with pytest.raises(DataDirectoryInUseError):
                await ControlServer(path, handler).start()
        assert not exists(path)
        with pytest.raises(NodeNotRunningError):
            await answers_of(ControlClient(path), REPEAT)
        await asyncio.sleep(0)
        assert open_descriptors() <= before


class TestConversation:
    async def test_without_a_socket_no_node_runs(self, path: Path) -> None:
        with pytest.raises(NodeNotRunningError):
            await answers_of(ControlClient(path), REPEAT)

    async def test_with_a_dead_socket_no_node_runs(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        with pytest.raises(NodeNotRunningError):
            await answers_of(ControlClient(path), REPEAT)

    async def test_a_node_that_takes_no_command_is_told(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as suspended:
            suspended.bind(str(path))
            suspended.listen()
            client = ControlClient(path, accept_s_max=0.05)
            for size in (1, limits.CONTROL_REQUEST_BYTES_MAX - 100):
                with pytest.raises(NodeNotAnsweringError, match="kill -CONT"):
                    await answers_of(client, ("repeat", {"text": "x" * size}))

    async def test_a_command_may_take_longer_than_its_acceptance(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            answers = ControlClient(path, accept_s_max=0.2).request("be silent", {})
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await anext(answers)
            await until_idle(handler)
        assert handler.begun == 1

    async def test_a_command_is_not_begun_if_its_caller_has_gone(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            with socket.socket(socket.AF_UNIX) as hasty:  # nothing else happens meanwhile
                hasty.connect(str(path))
                hasty.sendall(encode_request(Request(command="wait", arguments={})))
            await answers_of(ControlClient(path), REPEAT)
            await until_idle(handler)
        assert handler.begun == 1

    async def test_an_answer_comes_before_the_command_is_done(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            answers = ControlClient(path).request("wait", {})
            async with asyncio.timeout(WAIT_S):
                assert await anext(answers) == {"waiting": True}
            assert handler.running == 1
            await answers.aclose()
            await until_idle(handler)

    async def test_answers_before_an_error_arrive(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            answers = ControlClient(path).request("fail", {"how": "invite"})
            assert await anext(answers) == {"before": "the error"}
            with pytest.raises(InviteError) as caught:
                await anext(answers)
        assert caught.value.reason == "expired"
        assert str(caught.value) == str(ERRORS["invite"])

    async def test_an_error_of_the_node_itself_is_logged_and_named(
        self, path: Path, handler: ScriptedHandler, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving(path, handler):
            with (
                caplog.at_level(logging.ERROR),
                pytest.raises(RemoteCommandError, match="see its log") as caught,
            ):
                await answers_of(ControlClient(path), ("break", {}))
            assert caught.value.type_name == "ZeroDivisionError"
            assert caplog.messages == ["control.command_broke"]
            assert len(await answers_of(ControlClient(path), REPEAT)) == 3

    async def test_an_answer_that_json_cannot_say_is_an_error(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            with pytest.raises(UsageError, match="cannot be sent"):
                await answers_of(ControlClient(path), ("object", {}))

    async def test_a_large_answer_arrives(self, path: Path, handler: ScriptedHandler) -> None:
        async with serving(path, handler):
            (answer,) = await answers_of(ControlClient(path), ("size", {"bytes": 20_000_000}))
            assert answer == {"text": "x" * 20_000_000}

    async def test_an_answer_that_is_too_large_is_an_error(
        self, path: Path, handler: ScriptedHandler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("adapters.control.frame.CONTROL_ANSWER_BYTES_MAX", 1_000)
        async with serving(path, handler):
            with pytest.raises(UsageError, match="1,000"):
                await answers_of(ControlClient(path), ("size", {"bytes": 2_000}))

    async def test_a_request_that_is_too_large_is_not_sent(self, path: Path) -> None:
        huge = "x" * limits.CONTROL_REQUEST_BYTES_MAX
        with pytest.raises(UsageError, match="more than"):
            await answers_of(ControlClient(path), ("repeat", {"text": huge}))

    async def test_the_largest_request_is_carried_out(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        room = limits.CONTROL_REQUEST_BYTES_MAX - len(
            encode_request(Request(command="repeat", arguments={"answer": {"t": ""}, "count": 1}))
        )
        async with serving(path, handler):
            command = ("repeat", {"answer": {"t": "x" * room}, "count": 1})
            assert await answers_of(ControlClient(path), command) == [{"t": "x" * room}]

    async def test_a_node_that_ends_ends_the_command(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler) as server:
            answers = ControlClient(path).request("wait", {})
            await anext(answers)
            await server.close()
            assert handler.running == 0
            with pytest.raises(NodeClosedError, match="was stopped"):
                await anext(answers)

    async def test_a_caller_that_vanishes_cancels_its_command(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(encode_request(Request(command="wait", arguments={})))
            async with asyncio.timeout(WAIT_S):
                while not handler.running:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.001)
            writer.transport.abort()
            await until_idle(handler)

    async def test_a_caller_that_reads_nothing_holds_its_command_up(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            _, writer = await asyncio.open_unix_connection(path)
            arguments = {"answer": {"text": "x" * 100_000}, "count": 1_000_000}
            writer.write(encode_request(Request(command="repeat", arguments=arguments)))
            assert len(await answers_of(ControlClient(path), REPEAT)) == 3
            assert handler.running == 1
            writer.transport.abort()
            await until_idle(handler)


GARBAGE = [
    b"\n",
    b"hello\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff\xfe\x00\n",
    b"null\n",
    b"[]\n",
    b"{}\n",
    b'{"command": 1, "arguments": {}}\n',
    b'{"command": "repeat"}\n',
    b'{"command": "repeat", "arguments": []}\n',
    b'{"command": "repeat", "arguments": {}, "more": 1}\n',
    b"[" * 200_000 + b"\n",
    b'{"command": "repeat", "arguments": {"count": ' + b"9" * 10_000 + b"}}\n",
]


class TestBadInput:
    @pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
    async def test_garbage_is_refused(
        self, path: Path, handler: ScriptedHandler, data: bytes
    ) -> None:
        async with serving(path, handler):
            answer = await say(path, data)
            assert answer is not None
            error = answer["error"]
            assert isinstance(error, dict)
            assert error["type"] == "UsageError"
            assert len(await answers_of(ControlClient(path), REPEAT)) == 3

    async def test_a_line_that_is_too_long_is_refused(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            answer = await say(path, b"x" * (3 * limits.CONTROL_REQUEST_BYTES_MAX))
            assert answer is not None
            assert "1,048,576 bytes" in str(answer["error"])
            assert len(await answers_of(ControlClient(path), REPEAT)) == 3

    async def test_half_a_request_is_refused(self, path: Path, handler: ScriptedHandler) -> None:
        async with serving(path, handler):
            answer = await say(path, b'{"command": "repe', ends=True)
            assert answer is not None
            assert "line feed" in str(answer["error"])

    async def test_a_caller_that_says_nothing_is_sent_away(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler, request_s_max=0.05):
            answer = await say(path, b'{"command": "repe')
            assert answer is not None
            assert "in time" in str(answer["error"])

    async def test_a_caller_that_leaves_at_once_gets_nothing(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            assert await say(path, b"", ends=True) is None

    async def test_callers_beyond_the_bound_are_told_to_wait(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async with serving(path, handler):
            client = ControlClient(path)
            waiting = [client.request("wait", {}) for _ in range(limits.CONTROL_CONNECTIONS_MAX)]
            for answers in waiting:
                assert await anext(answers) == {"waiting": True}
            with pytest.raises(UsageError, match="busy"):
                await answers_of(client, REPEAT)
            for answers in waiting:
                await answers.aclose()
            await until_idle(handler)
            assert len(await answers_of(client, REPEAT)) == 3

    async def test_many_callers_at_once_are_all_served_or_told(
        self, path: Path, handler: ScriptedHandler
    ) -> None:
        async def call(client: ControlClient) -> str:
            try:
                await answers_of(client, REPEAT)
            except CulmError as error:
                return type(error).__name__
            return "served"

        async with serving(path, handler):
            client = ControlClient(path)
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(call(client)) for _ in range(300)]
            outcomes = {each.result() for each in calls}
            assert "served" in outcomes
            assert outcomes <= {"served", "UsageError", "NodeClosedError"}
            assert len(await answers_of(client, REPEAT)) == 3

    @pytest.mark.parametrize(
        "line", [b"", b"{}\n", b'{"answer": 1}\n', b'{"result": {}}\n', b"\xff\n", b"[" * 100_000]
    )
    def test_what_no_node_says_is_an_error(self, line: bytes) -> None:
        with pytest.raises(NodeClosedError):
            decode_reply(line)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_request_or_refused(self, data: bytes) -> None:
        try:
            decode_request(data)
        except UsageError:
            return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.text(),
    st.dictionaries(
        st.text(), JSON.filter(lambda value: value not in (float("inf"), float("-inf")))
    ),
)
def test_a_request_arrives_as_it_was_sent(command: str, arguments: dict[str, object]) -> None:
    try:
        line = encode_request(Request(command=command, arguments=arguments))
    except UsageError:
        return  # infinities
    assert line.count(b"\n") == 1
    assert decode_request(line) == Request(command=command, arguments=arguments)


def all_errors() -> list[CulmError]:
    made: list[CulmError] = [RemoteCommandError("OtherError", "text")]
    for kind in vars(errors).values():
        if not (isinstance(kind, type) and issubclass(kind, CulmError)):
            continue
        if issubclass(kind, CodedError | InviteError):
            made.append(kind("a-code", "what to do"))
        elif issubclass(kind, PeerError | HandshakeError | ConnectionLostError):
            made.append(kind(3, "what to do"))
        else:
            made.append(kind("what to do"))
    return made


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_what_it_was_raised_as(error: CulmError) -> None:
    again = restore(json.loads(json.dumps(describe(error))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    for name in ("code", "reason", "detail", "by_peer", "type_name"):
        assert getattr(again, name, None) == getattr(error, name, None)


def test_an_error_without_a_type_here_is_remote() -> None:
    error = restore({"type": "NewerError", "code": None, "message": "text"})
    assert isinstance(error, RemoteCommandError)
    assert error.type_name == "NewerError"


@given(st.dictionaries(st.sampled_from(["type", "code", "message"]), JSON))
def test_whatever_is_said_about_an_error_is_one(description: dict[str, object]) -> None:
    assert isinstance(restore(description), CulmError)


def test_operation_errors_keep_their_code() -> None:
    again = restore(describe(OperationError("forked")))
    assert isinstance(again, OperationError)
    assert (again.code, again.detail) == ("forked", "")
