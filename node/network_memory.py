"""What was found out about the network, kept on disk: a node that starts goes by it until it has looked again."""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from domain.codec import CodecError
from domain.connectivity.verdict import NatVerdict
from domain.errors import SealError, StorageError
from domain.limits import STORE_RETRY_S
from domain.ports.traversal import Traversal
from domain.sealing import NONCE_BYTES, open_record, seal_record
from node.environment import Environment

logger = logging.getLogger(__name__)

RECORD_NAME: Final = b"nat"
RECORD_LABEL: Final = "nat"


class NetworkMemory:
    """Keeps the last verdict about the NAT.

    Args:
        environment: Where it is kept, and under which key.
        traversal: Who finds it out.
    """

    def __init__(self, environment: Environment, traversal: Traversal) -> None:
        self._environment = environment
        self._traversal = traversal
        self._kept: NatVerdict | None = None

    @property
    def verdict(self) -> NatVerdict | None:
        """What is known of the network, or was known last, maybe of another; None if nothing ever was."""
        return self._traversal.verdict or self._kept

    async def recall(self) -> None:
        """Read what was kept; a record that cannot be read is as good as none."""
        environment = self._environment
        try:
            sealed = (await environment.store.own_records()).get(RECORD_NAME)
            if sealed is None:
                return
            plain = open_record(environment.storage_key, RECORD_LABEL, environment.key.peer, sealed)
            self._kept = NatVerdict.decode(plain)
        except (StorageError, SealError, CodecError) as error:
            logger.warning("network.not_recalled", extra={"error": str(error)})
            return
        self._traversal.recall(self._kept)

    async def run(self) -> None:
        """Keep each new verdict until cancelled, and try again while the disk does not take it."""
        unsaved: NatVerdict | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(STORE_RETRY_S if unsaved is not None else None):
                    unsaved = await self._traversal.judged()
            if unsaved is not None and await self._save(unsaved):
                unsaved = None

    async def _save(self, verdict: NatVerdict) -> bool:
        environment = self._environment
        sealed = seal_record(
            environment.storage_key,
            RECORD_LABEL,
            environment.key.peer,
            verdict.encode(),
            nonce=environment.entropy.draw(NONCE_BYTES),
        )
        try:
            await environment.store.save_own_record(RECORD_NAME, sealed)
        except StorageError as error:
            logger.warning("network.not_remembered", extra={"error": str(error)})
            return False
        self._kept = verdict
        return True
