"""Puts rounds together, and compares runs."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Go through nested keys as `outer.inner`."""
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from flatten(each, f"{prefix}{key}.")
        else:
            yield prefix + key, each


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `flatten`."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *outer, last = key.split(".")
        place = nested
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return nested


def median(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take the median of each figure over the rounds; `cold_open_ms` is the best, as its target has it."""
    flat = [dict(flatten(each)) for each in rounds]
    chosen: dict[str, Any] = {}
    for key in flat[0]:
        values = [each[key] for each in flat if each.get(key) is not None]
        best = min(values) if key == "cold_open_ms" else statistics.median_low(values)
        chosen[key] = round(best, 3)
    return nest(chosen)


def add_ratio(result: dict[str, Any]) -> None:
    """Add how many times the peer takes of what we take."""
    peer, live = result.get("peer"), result["live"]
    if peer:
        result["ratio"] = {
            "live": round(peer["live_seconds"] / live["seconds"], 2),
            "wire": round(peer["wire_bytes"] / live["wire_bytes"], 2),
        }


def compare(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Say, for each figure in both, what it was, what it is, and the ratio."""
    earlier = dict(flatten(before))
    lines = []
    for key, value in flatten(now):
        old = earlier.get(key)
        if isinstance(value, int | float) and isinstance(old, int | float) and old:
            lines.append(f"{key:32} {old:>16,.3f} -> {value:>16,.3f}  x {value / old:.2f}")
    return lines
