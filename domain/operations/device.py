"""What a device says about itself to the members of a document: a name for people, and what it can do."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from domain import codec, limits
from domain.codec import CodecError
from domain.errors import UpdateError, UsageError

METADATA_VERSION: Final = 1
CAPABILITY: Final = re.compile(r"[a-z0-9][a-z0-9.-]*", re.ASCII)
UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
"""Characters that move a cursor, turn lines around or cannot be seen: a name must not look like something else. A fixed
list, as tables of properties differ from one version of Unicode to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMetadata:
    """What a device says about itself; chosen by the device, so it proves nothing.

    Args:
        name: For people: one line of at most 128 bytes of UTF-8, without blanks at its ends; may be empty.
        capabilities: What it can do: at most 16 words of lower-case letters, digits, `.` and `-`, of at most 32 bytes,
            ascending.
    """

    name: str
    capabilities: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Encode it (in clear: seal it)."""
        return codec.encode((METADATA_VERSION, self.name, self.capabilities))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode what `encode` gave.

        Raises:
            UpdateError: It is something else, or out of bounds.
        """
        try:
            version, name, capabilities = codec.decode_array(
                data, bytes_max=limits.DEVICE_METADATA_BYTES_MAX
            )
            codec.take_int(version, minimum=METADATA_VERSION, maximum=METADATA_VERSION)
            listed = codec.take_list(capabilities, maximum=limits.DEVICE_CAPABILITIES_MAX)
            made = cls(
                name=codec.take_text(name, bytes_max=limits.DEVICE_NAME_BYTES_MAX),
                capabilities=tuple(
                    codec.take_text(each, bytes_max=limits.CAPABILITY_WORD_BYTES_MAX)
                    for each in listed
                ),
            )
            made.check()
        except (CodecError, ValueError) as error:
            raise UpdateError("device-metadata", str(error)) from None
        except UsageError as error:
            raise UpdateError("device-metadata", str(error)) from None
        return made

    def check(self) -> None:
        """Check that others accept it.

        Raises:
            UsageError: They do not; the text says why.
        """
        try:
            size = len(self.name.encode())
        except UnicodeEncodeError:
            raise UsageError("the name of a device is text that UTF-8 can say") from None
        if size > limits.DEVICE_NAME_BYTES_MAX:
            raise UsageError(
                f"the name of a device has at most {limits.DEVICE_NAME_BYTES_MAX} bytes"
            )
        if self.name.strip() != self.name or UNSEEN.search(self.name):
            raise UsageError(
                "the name of a device is one line without control characters, or blanks at its ends"
            )
        if len(self.capabilities) > limits.DEVICE_CAPABILITIES_MAX or any(
            not CAPABILITY.fullmatch(each) or len(each) > limits.CAPABILITY_WORD_BYTES_MAX
            for each in self.capabilities
        ):
            raise UsageError(
                f"a device has at most {limits.DEVICE_CAPABILITIES_MAX} capabilities: words of lower-case"
                f" letters, digits, '.' and '-', of at most {limits.CAPABILITY_WORD_BYTES_MAX} bytes"
            )
        if any(earlier >= later for earlier, later in pairwise(self.capabilities)):
            raise UsageError("the capabilities of a device are listed once each, ascending")
