"""The ratchet passes the contract of pairwise channels."""

import pytest

from adapters.ratchet.channel import RatchetPairwiseChannel
from domain.errors import PairwiseError
from domain.identity import DeviceKey
from tests.contracts.pairwise_channel import ALICE, CONTEXT, PairwiseChannelContract
from tests.contracts.small_order import SMALL_ORDER_X25519


class TestRatchetPairwiseChannel(PairwiseChannelContract):
    def channel(self, key: DeviceKey) -> RatchetPairwiseChannel:
        return RatchetPairwiseChannel(key)

    @pytest.mark.parametrize("public", SMALL_ORDER_X25519)
    async def test_a_ratchet_key_of_small_order_is_refused(self, public: bytes) -> None:
        sealed = await self.started()
        opened = await self.opened(sealed.message)
        second = await self.channel(ALICE).seal(sealed.session, b"second", context=CONTEXT)
        at = second.message.index(b"\x58\x20") + 2  # its first key: the ratchet's
        forged = second.message[:at] + public + second.message[at + 32 :]
        with pytest.raises(PairwiseError) as caught:
            await self.opened(forged, opened.session)
        assert caught.value.code in ("wrong-key", "not-authentic")
