"""What each device says about itself, as far as the log was judged."""

from domain import codec, limits
from domain.identifiers import OperationId, PeerId
from domain.operations.device import DeviceMetadata
from domain.operations.operation import Operation

Said = tuple[int, OperationId, DeviceMetadata]


class Devices:
    """The latest that each device said about itself: by its own clock, then by operation id, so all agree."""

    def __init__(self) -> None:
        self._said: dict[PeerId, Said] = {}

    def take(self, operation: Operation, plain: bytes) -> None:
        """Take the plain text of a metadata operation into account.

        Raises:
            UpdateError: It is no metadata.
        """
        metadata = DeviceMetadata.decode(plain)
        said = (operation.extension.timestamp, operation.operation_id, metadata)
        known = self._said.get(operation.author)
        if known is None or known[:2] < said[:2]:
            self._said[operation.author] = said

    def of(self, peer: PeerId) -> DeviceMetadata | None:
        """Give what a device said; None if it said nothing that counts and can be read here."""
        said = self._said.get(peer)
        return None if said is None else said[2]

    def to_value(self) -> codec.Value:
        """Give what `restore` reads."""
        return [
            (peer, time, operation_id, metadata.encode())
            for peer, (time, operation_id, metadata) in self._said.items()
        ]

    def restore(self, value: object) -> None:
        """Read what `to_value` gave."""
        for entry in codec.take_list(value, maximum=2**32):
            peer, time, operation_id, data = codec.take_list(entry, maximum=4)
            plain = codec.take_bytes(data, maximum=limits.DEVICE_METADATA_BYTES_MAX)
            self._said[PeerId(codec.take_bytes(peer, maximum=32))] = (
                codec.take_int(time, maximum=limits.TIMESTAMP_MAX),
                OperationId(codec.take_bytes(operation_id, maximum=32)),
                DeviceMetadata.decode(plain),
            )
