import ast
import inspect

from domain.connectivity import close_codes
from domain.connectivity.close_codes import CloseCode, close_code_name


def test_the_numbers_stay() -> None:
    assert {code.name: code.value for code in CloseCode} == {
        "NORMAL": 0, "HANDSHAKE_FAILED": 1, "HANDSHAKE_TIMED_OUT": 2, "PROTOCOL_ERROR": 3, "INTERNAL_ERROR": 4,
        "SHUTTING_DOWN": 16, "REPLACED": 17, "WRONG_NETWORK": 18, "VERSION_NOT_SUPPORTED": 19, "UNUSED": 20,
        "RESOURCES": 21, "TIMED_OUT": 22, "NOT_WANTED": 23, "REMOVED": 24,
    }  # fmt: skip


def test_every_code_is_explained() -> None:
    body = next(
        node.body
        for node in ast.parse(inspect.getsource(close_codes)).body
        if isinstance(node, ast.ClassDef)
    )
    for code, text in zip(body[1::2], body[2::2], strict=True):
        assert isinstance(code, ast.Assign)
        assert isinstance(text, ast.Expr)


def test_a_code_of_a_newer_version_has_a_name_too() -> None:
    assert close_code_name(CloseCode.SHUTTING_DOWN) == "shutting down"
    assert close_code_name(4_711) == "code 4711"
