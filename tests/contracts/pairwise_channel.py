"""What every pairwise channel must pass."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import pytest

from domain.errors import PairwiseError
from domain.identity import DeviceKey, Label
from domain.ports.pairwise import PairwiseChannel, PairwiseOpened, PairwiseSealed
from domain.prekey import Prekey, PrekeyPair, make_prekey
from tests.contracts.small_order import SMALL_ORDER_X25519
from tests.unsound_keys import MIXED, UNSOUND

CONTEXT = b"a document and a log"
EXPIRES_US = 2**50
ALICE, BOB, EVE = (DeviceKey(bytes([number]) * 32) for number in (1, 2, 3))


class Draws:
    """Entropy that counts."""

    def __init__(self, start: int) -> None:
        self._count = start

    def draw(self, count: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(4, "big").rjust(count, b"\x5a")


def own_prekey(key: DeviceKey, number: int = 0) -> PrekeyPair:
    private = Draws(1000 * number + 100_000 * key.peer[0]).draw(32)
    return make_prekey(key, private, expires_us=EXPIRES_US)


def by_public(*pairs: PrekeyPair) -> Mapping[bytes, PrekeyPair]:
    return {pair.prekey.public: pair for pair in pairs}


class PairwiseChannelContract(ABC):
    """The laws of `PairwiseChannel`."""

    @abstractmethod
    def channel(self, key: DeviceKey) -> PairwiseChannel:
        """Make the channel of a device."""

    async def started(self, plain: bytes = b"first", context: bytes = CONTEXT) -> PairwiseSealed:
        prekey = own_prekey(BOB).prekey
        return await self.channel(ALICE).start(BOB.peer, prekey, plain, context=context)

    async def opened(
        self,
        message: bytes,
        session: bytes | None = None,
        *,
        context: bytes = CONTEXT,
        sender: DeviceKey = ALICE,
    ) -> PairwiseOpened:
        prekeys = by_public(own_prekey(BOB))
        return await self.channel(BOB).open(sender.peer, session, prekeys, message, context=context)

    async def refuses(
        self,
        message: bytes,
        session: bytes | None = None,
        *,
        context: bytes = CONTEXT,
        sender: DeviceKey = ALICE,
    ) -> str:
        with pytest.raises(PairwiseError) as caught:
            await self.opened(message, session, context=context, sender=sender)
        return caught.value.code

    async def test_messages_of_a_session_arrive_in_order_through_stored_states(self) -> None:
        sealed = await self.started(b"0")
        messages = [sealed.message]
        for number in range(1, 20):
            sealed = await self.channel(ALICE).seal(
                sealed.session, str(number).encode(), context=CONTEXT
            )
            messages.append(sealed.message)
        session: bytes | None = None
        said = []
        for message in messages:
            opened = await self.opened(message, session)
            session = opened.session
            said.append(opened.plain)
        assert said == [str(number).encode() for number in range(20)]

    async def test_no_message_shows_what_it_says_and_no_two_are_equal(self) -> None:
        one, other = await self.started(b"the same words"), await self.started(b"the same words")
        assert one.message != other.message
        assert b"the same words" not in one.message

    async def test_an_empty_and_a_large_message_arrive(self) -> None:
        for plain in (b"", b"x" * 100_000):
            assert (await self.opened((await self.started(plain)).message)).plain == plain

    async def test_a_message_opens_once(self) -> None:
        sealed = await self.started()
        second = await self.channel(ALICE).seal(sealed.session, b"second", context=CONTEXT)
        opened = await self.opened(sealed.message)
        opened = await self.opened(second.message, opened.session)
        assert await self.refuses(second.message, opened.session) == "replayed"

    async def test_a_missing_message_holds_up_no_later_one(self) -> None:
        sealed = await self.started()
        opened = await self.opened(sealed.message)
        lost = await self.channel(ALICE).seal(sealed.session, b"lost", context=CONTEXT)
        later = await self.channel(ALICE).seal(lost.session, b"later", context=CONTEXT)
        assert (await self.opened(later.message, opened.session)).plain == b"later"

    async def test_too_many_missing_messages_cost_little_and_are_refused(self) -> None:
        sealed = await self.started()
        opened = await self.opened(sealed.message)
        for _ in range(70):
            sealed = await self.channel(ALICE).seal(sealed.session, b"lost", context=CONTEXT)
        assert await self.refuses(sealed.message, opened.session) == "skipped"

    async def test_what_fails_leaves_the_session_as_it_was(self) -> None:
        sealed = await self.started()
        opened = await self.opened(sealed.message)
        second = await self.channel(ALICE).seal(sealed.session, b"second", context=CONTEXT)
        damaged = second.message[:-1] + bytes([second.message[-1] ^ 1])
        assert await self.refuses(damaged, opened.session) == "not-authentic"
        assert (await self.opened(second.message, opened.session)).plain == b"second"

    async def test_each_altered_byte_of_a_first_message_is_noticed(self) -> None:
        message = (await self.started()).message
        for at in range(0, len(message), 5):
            altered = message[:at] + bytes([message[at] ^ 0x41]) + message[at + 1 :]
            assert await self.refuses(altered)

    async def test_a_message_for_something_else_does_not_open(self) -> None:
        sealed = await self.started()
        assert await self.refuses(sealed.message, context=b"another log") == "not-authentic"
        opened = await self.opened(sealed.message)
        second = await self.channel(ALICE).seal(sealed.session, b"second", context=CONTEXT)
        code = await self.refuses(second.message, opened.session, context=b"another log")
        assert code == "not-authentic"

    async def test_another_sender_than_said_does_not_pass(self) -> None:
        assert await self.refuses((await self.started()).message, sender=EVE) == "not-authentic"

    async def test_another_device_cannot_open_it(self) -> None:
        message = (await self.started()).message
        prekeys = by_public(own_prekey(EVE))
        with pytest.raises(PairwiseError) as caught:
            await self.channel(EVE).open(ALICE.peer, None, prekeys, message, context=CONTEXT)
        assert caught.value.code == "unknown-prekey"
        stolen = by_public(own_prekey(BOB))  # not even with the prekey: it takes the device key too
        with pytest.raises(PairwiseError) as caught:
            await self.channel(EVE).open(ALICE.peer, None, stolen, message, context=CONTEXT)
        assert caught.value.code == "not-authentic"

    async def test_a_later_message_needs_its_session(self) -> None:
        sealed = await self.started()
        second = await self.channel(ALICE).seal(sealed.session, b"second", context=CONTEXT)
        assert await self.refuses(second.message) == "no-session"

    async def test_a_new_session_replaces_the_one_before(self) -> None:
        opened = await self.opened((await self.started(b"old")).message)
        assert (
            await self.opened((await self.started(b"new")).message, opened.session)
        ).plain == b"new"

    async def test_an_older_prekey_still_opens_while_it_is_kept(self) -> None:
        old, new = own_prekey(BOB, 1), own_prekey(BOB, 2)
        sealed = await self.channel(ALICE).start(BOB.peer, old.prekey, b"late", context=CONTEXT)
        opened = await self.channel(BOB).open(
            ALICE.peer, None, by_public(old, new), sealed.message, context=CONTEXT
        )
        assert opened.plain == b"late"

    async def test_a_prekey_that_its_device_did_not_sign_is_refused(self) -> None:
        prekey = own_prekey(BOB).prekey
        other_label = BOB.sign(Label.JOIN, prekey.public)
        for signature in (
            own_prekey(EVE).prekey.signature,
            other_label,
            BOB.sign_operation(prekey.public),
            bytes(64),
        ):
            with pytest.raises(PairwiseError) as caught:
                await self.channel(ALICE).start(
                    BOB.peer, replace(prekey, signature=signature), b"x", context=CONTEXT
                )
            assert caught.value.code == "wrong-prekey"

    @pytest.mark.parametrize("public", SMALL_ORDER_X25519)
    async def test_a_prekey_of_small_order_is_refused_even_if_signed(self, public: bytes) -> None:
        signed = Prekey(
            public=public, expires_us=EXPIRES_US, signature=BOB.sign(Label.PREKEY, public)
        )
        with pytest.raises(PairwiseError) as caught:
            await self.channel(ALICE).start(BOB.peer, signed, b"x", context=CONTEXT)
        assert caught.value.code == "wrong-key"

    async def test_a_recipient_whose_key_is_not_of_prime_order_is_refused(self) -> None:
        public = own_prekey(BOB).prekey.public
        signed = Prekey(
            public=public, expires_us=EXPIRES_US, signature=MIXED.sign(Label.PREKEY, public)
        )
        with pytest.raises(PairwiseError) as caught:
            await self.channel(ALICE).start(MIXED.peer, signed, b"x", context=CONTEXT)
        assert caught.value.code == "wrong-key"

    @pytest.mark.parametrize("public", UNSOUND)
    async def test_a_sender_whose_key_is_not_of_prime_order_is_refused(self, public: bytes) -> None:
        message = (await self.started()).message
        with pytest.raises(PairwiseError) as caught:
            await self.channel(BOB).open(
                type(BOB.peer)(public), None, by_public(own_prekey(BOB)), message, context=CONTEXT
            )
        assert caught.value.code == "wrong-key"

    @pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 40, b"\x84\xf6\xf6\x00\x40"])
    async def test_bytes_that_are_no_message_or_no_session_are_refused(self, data: bytes) -> None:
        session = (await self.opened((await self.started()).message)).session
        assert await self.refuses(data, session) in ("malformed", "not-authentic", "replayed")
        with pytest.raises(PairwiseError):
            await self.channel(ALICE).seal(data, b"x", context=CONTEXT)

    async def test_nothing_secret_shows_in_a_repr(self) -> None:
        pair, sealed = own_prekey(BOB), await self.started(b"the secret words")
        opened = await self.opened(sealed.message)
        shown = repr((pair, sealed, opened))
        assert "secret words" not in shown
        assert repr(pair.private)[2:-1] not in shown
        assert repr(sealed.session)[2:20] not in shown
