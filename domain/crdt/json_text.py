"""Recognizes the JSON texts that yrs accepts in formats and embeds, without building their values.

Python's own parser does not serve: it accepts NaN and lone surrogates, builds the value, and differs between
releases, while every replica has to refuse the same texts. The grammar is RFC 8259, narrowed to what yrs (serde_json)
reads and writes back alike: no lone surrogate escapes, no number beyond a double, no integer from 2**63 to 2**64 - 1
(serde_json takes it for a u64, which yrs has no value for).
"""

import math
import re
from typing import Final

from domain.errors import UpdateError
from domain.limits import UPDATE_ANY_DEPTH_MAX

NUMBER_BYTES_MAX: Final = 64  # a double needs 25; converting a very long one takes quadratic time
USUAL: Final = frozenset((b"true", b"null", b"false"))

_TOKEN: Final = re.compile(
    rb"""[ \t\n\r]*+(?:
      (?P<OPEN>[\[{])
    | (?P<CLOSE>[\]}])
    | (?P<COMMA>,)
    | (?P<COLON>:)
    | (?P<TEXT>"(?:[^"\\\x00-\x1f]++ | \\["\\/bfnrt]
        | \\u(?:[0-9A-Ca-cEFef][0-9A-Fa-f]{3} | [Dd][0-7][0-9A-Fa-f]{2}
            | [Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}))*+")
    | (?P<NUMBER>-?(?:0|[1-9][0-9]*+)(?P<FRACTION>(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+))
    | (?P<WORD>true|false|null)
    | (?P<END>\Z)
    )""",
    re.VERBOSE,
)

# What may follow, by state and token. The state after a value depends on the container and is worked out apart.
_VALUES: Final = {"OPEN": "OPENED", "TEXT": "AFTER", "NUMBER": "AFTER", "WORD": "AFTER"}
_NEXT: Final[dict[str, dict[str, str]]] = {
    "VALUE": _VALUES,
    "FIRST-VALUE": _VALUES | {"CLOSE": "AFTER"},
    "KEY": {"TEXT": "COLON"},
    "FIRST-KEY": {"TEXT": "COLON", "CLOSE": "AFTER"},
    "COLON": {"COLON": "VALUE"},
    "AFTER": {"COMMA": "NEXT", "CLOSE": "AFTER"},
    "DONE": {"END": "END"},
}
_PARTNER: Final = {b"]": b"[", b"}": b"{"}


def measure_json(text: bytes, values_max: int) -> int:
    """Check that well-formed UTF-8 is one JSON value that yrs accepts.

    Returns:
        How many tokens it has, which bounds the values in it.

    Raises:
        UpdateError: It is no such value (`json`), is nested deeper than `UPDATE_ANY_DEPTH_MAX` (`too-deep`), or has
            more than `values_max` tokens (`too-many`).
    """
    if text in USUAL:
        return 1
    containers: list[bytes] = []
    state, position, tokens = "VALUE", 0, 0
    while state != "END":
        match = _TOKEN.match(text, position)
        kind = match.lastgroup if match is not None else None
        following = _NEXT[state].get(kind) if kind is not None else None
        if match is None or following is None:
            raise UpdateError("json", f"not JSON at byte {position} of {len(text)}")
        if kind == "NUMBER":
            _check_number(match["NUMBER"], whole=not match["FRACTION"])
        elif following == "OPENED" or kind == "CLOSE":
            following = _enter_or_leave(containers, text[match.end() - 1 : match.end()])
        if following == "AFTER" and not containers:
            following = "DONE"
        elif following == "NEXT":
            following = "KEY" if containers[-1] == b"{" else "VALUE"
        state, position, tokens = following, match.end(), tokens + 1
        if tokens > values_max:
            raise UpdateError("too-many", "too many JSON values")
    return tokens


def _enter_or_leave(containers: list[bytes], bracket: bytes) -> str:
    if bracket in _PARTNER:
        if containers.pop() != _PARTNER[bracket]:
            raise UpdateError("json", "a bracket closes another kind")
        return "AFTER"
    containers.append(bracket)
    if len(containers) > UPDATE_ANY_DEPTH_MAX:
        raise UpdateError("too-deep", f"JSON nested deeper than {UPDATE_ANY_DEPTH_MAX}")
    return "FIRST-KEY" if bracket == b"{" else "FIRST-VALUE"


def _check_number(number: bytes, *, whole: bool) -> None:
    if len(number) > NUMBER_BYTES_MAX:
        raise UpdateError("json", f"a number of {len(number)} digits")
    if math.isinf(float(number)) or (whole and 2**63 <= int(number) < 2**64):
        raise UpdateError("json", "a number that yrs cannot hold")
