"""What was heard in the local network, as far as somebody looks for it: bounded, whatever is announced there."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from domain.limits import LOOKED_FOR_NAMES_MAX, SIGHTING_ADDRESSES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Somebody announces a name.

    Args:
        name: The name.
        addresses: Where, as `host:port`; 1 to `SIGHTING_ADDRESSES_MAX`.
    """

    name: bytes
    addresses: tuple[str, ...]


class Sightings:
    """Notes names that are looked for; of each the latest sighting waits, once for each change."""

    def __init__(self) -> None:
        self._looked_for: frozenset[bytes] = frozenset()
        self._seen: dict[bytes, tuple[str, ...]] = {}
        self._waiting: dict[bytes, Sighting] = {}

    def look_for(self, names: Collection[bytes]) -> frozenset[bytes]:
        """Note these from now on, and no others; those of them that were not looked for before."""
        before = self._looked_for
        self._looked_for = frozenset(sorted(names)[:LOOKED_FOR_NAMES_MAX])
        for gone in self._seen.keys() - self._looked_for:
            del self._seen[gone]
            self._waiting.pop(gone, None)
        return self._looked_for - before

    def wants(self, name: bytes) -> bool:
        """Whether that name is looked for."""
        return name in self._looked_for

    def note(self, name: bytes, addresses: Sequence[str]) -> None:
        """Somebody announces a name at these addresses."""
        found = tuple(addresses[:SIGHTING_ADDRESSES_MAX])
        if self.wants(name) and found and self._seen.get(name) != found:
            self._seen[name] = found
            self._waiting[name] = Sighting(name=name, addresses=found)

    def take(self) -> Sighting | None:
        """The sighting that has waited longest, if any."""
        return self._waiting.pop(next(iter(self._waiting)), None) if self._waiting else None
