"""Signalling: lets peers that cannot reach each other exchange offers, through whoever both are connected to.

A node says under which tags it can be found, to its peers and to the rendezvous servers that it is told of
(`node/rendezvous.py`); it hands on offers for others. What passes through a stranger is sealed, and the tags mean
nothing to it. The invariant: nobody makes us send more than the bounds here allow.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Final

from domain.connectivity.bucket import TokenBucket
from domain.connectivity.candidate import Candidate, CandidateKind
from domain.connectivity.meeting import HOUR_S, hours_around, rendezvous_tag
from domain.connectivity.nat import UNKNOWN, keeps_relay, wants_relay
from domain.connectivity.offer import (
    LIFETIME_S,
    OFFER_ID_BYTES,
    SECRET_BYTES,
    TAG_BYTES,
    Offer,
    OfferError,
    OfferLog,
    open_offer,
    seal_offer,
)
from domain.connectivity.search import NobodyKnowsError, Search, rank
from domain.connectivity.server import RendezvousServer
from domain.connectivity.signal import (
    Deliver,
    Forward,
    Nobody,
    Register,
    Signal,
    decode_signal,
    signal_channel,
)
from domain.connectivity.switchboard import Switchboard
from domain.errors import ConnectionLostError, DialError, NetworkError, PeerError
from domain.events import SecurityEvent
from domain.identifiers import PeerId
from domain.identity import can_be_sealed_to
from domain.limits import (
    FORWARDS_BURST,
    FORWARDS_PER_S,
    MEETING_KEYS_MAX,
    OFFERS_ANSWERED_MAX,
    SERVER_SIGNALS_BURST,
    SERVER_SIGNALS_PER_S,
    STRANGER_OFFERS_BURST,
    STRANGER_OFFERS_PER_S,
)
from domain.ports.network import Connection
from domain.ports.traversal import Traversal
from node.environment import Environment
from node.meeting import MeetingPlaces
from node.rendezvous import RendezvousServers
from node.runtime import Runtime
from node.signal_link import SignalLink
from node.whereabouts import Whereabouts

logger = logging.getLogger(__name__)

ANSWER_S_MAX: Final = 6.0
"""An answer may wait for a port at a relay (4 s), and crosses two connections."""
LINK_S_MAX: Final = 8.0
"""The first connection to a rendezvous: a dial that fails (3 s), and one by a relay that has to be had first (4 s)."""
RENEW_S: Final = (0.0, 1.0, 2.0, 4.0)
"""Waits between the offers with which a connection whose ways are all silent is mended; then the last again."""
REGISTER_S: Final = 30.0
"""How often tags are looked at: the hour changes, and so do secrets and invites."""
REGISTER_S_MIN: Final = 1.0
"""So long they are left alone then: members come by the hundred when a document is caught up with."""


@dataclass(frozen=True, slots=True)
class _Exchange:
    """An offer of ours that waits for its answer, and the search for its recipient."""

    offer: Offer
    search: Search[SignalLink]
    answered: asyncio.Future[Offer]


class Signalling:
    """The signalling of one node.

    Args:
        environment: Everything outside.
        runtime: Starts tasks.
        traversal: Opens ways.
        places: Gives where the members of our documents meet.
        publish: Takes security events.
        serves_anybody: Whether this node hands on offers for strangers too.
    """

    def __init__(
        self,
        environment: Environment,
        runtime: Runtime,
        traversal: Traversal,
        *,
        places: MeetingPlaces,
        publish: Callable[[SecurityEvent], None],
        serves_anybody: bool,
    ) -> None:
        self._environment = environment
        self._runtime = runtime
        self._traversal = traversal
        self._places = places
        self._publish = publish
        self._serves_anybody = serves_anybody
        self._whereabouts = Whereabouts(traversal, environment.clock, self._witnesses)
        self._links: dict[SignalLink, None] = {}
        self._board = Switchboard[SignalLink](environment.entropy.draw)
        self._linked = asyncio.Event()
        self._found_server: Callable[[], None] = lambda: None
        self._stir = asyncio.Event()
        self._waiting: dict[bytes, _Exchange] = {}
        self._turn = 0
        self._log = OfferLog()
        self._answering = 0
        self._expected: set[PeerId] = set()
        # Those who are connected to us cannot take the turns of those who know a tag of ours.
        self._of_strangers = {
            is_direct: TokenBucket(
                rate=STRANGER_OFFERS_PER_S,
                burst=STRANGER_OFFERS_BURST,
                now=environment.clock.now(),
            )
            for is_direct in (False, True)
        }
        self._renewing: set[PeerId] = set()
        self.rendezvous = RendezvousServers(
            environment,
            runtime,
            traversal,
            attach=self._attach_server,
            is_member=self._is_member,
        )

    def start(self, servers: Sequence[RendezvousServer], found_server: Callable[[], None]) -> None:
        """Keep connected to rendezvous servers, keep tags up to date, and mend ways.

        Args:
            servers: Those that are configured.
            found_server: Told of each connection to a server: it may hand on offers to whom nobody else could.
        """
        self._found_server = found_server
        self.rendezvous.start(servers)
        self._runtime.spawn(self._keep_registered(), "tags")
        self._runtime.spawn(self._mend(), "mend")

    # --- Connections ---

    def attach(
        self, connection: Connection, is_known: Callable[[], bool], *, is_server: bool = False
    ) -> SignalLink:
        """Use a connection for signals, for as long as it lives."""
        channel = connection.channel(signal_channel(connection.binding))
        bucket = TokenBucket(
            rate=SERVER_SIGNALS_PER_S if is_server else FORWARDS_PER_S,
            burst=SERVER_SIGNALS_BURST if is_server else FORWARDS_BURST,
            now=self._environment.clock.now(),
        )
        link = SignalLink(
            connection=connection,
            channel=channel,
            is_known=is_known,
            is_server=is_server,
            bucket=bucket,
            reply_tag=self._environment.entropy.draw(TAG_BYTES),
        )
        self._links[link] = None
        self._linked.set()
        link.tell(self._own_tags())
        if is_server:
            for exchange in self._waiting.values():
                self._ask(exchange, exchange.search.add(link))
        self._runtime.spawn(self._read(link), f"signals {connection.peer.short}")
        return link

    def _attach_server(self, connection: Connection) -> None:
        self.attach(connection, lambda: False, is_server=True)
        self._found_server()

    def serves(self, connection: Connection) -> bool:
        """Whether a connection is used by somebody who can be found through us."""
        links = (each for each in self._links if each.connection is connection)
        return any(self._board.has(each) for each in links)

    async def _read(self, link: SignalLink) -> None:
        try:
            while True:
                self._take(link, decode_signal(await link.channel.receive()))
        except ConnectionLostError:
            return
        except PeerError as error:
            self._publish(SecurityEvent(peer=link.connection.peer, what=str(error)))
            link.connection.close(error.code, str(error))
        finally:
            self._links.pop(link, None)
            self._board.register(link, ())

    def _take(self, link: SignalLink, signal: Signal) -> None:
        match signal:
            case Register(tags):
                if self._serves_anybody or link.is_known():
                    self._board.register(link, tags)
            case Forward(tag, sealed):
                if link.bucket.take(self._environment.clock.now()):
                    self._forward(link, tag, sealed)
            case Deliver(sealed):
                if link.bucket.take(self._environment.clock.now()):
                    self._take_offer(link, sealed)
            case Nobody(tag):  # no other is asked after one that was not asked for
                link.note_nobody(tag, now=self._environment.clock.now())
                for exchange in self._waiting.values():
                    self._ask(exchange, exchange.search.nobody(link, tag))

    def _forward(self, link: SignalLink, tag: bytes, sealed: bytes) -> None:
        if not (self._serves_anybody or link.is_known()):
            return
        receivers = self._board.find(tag, besides=link)
        for receiver in receivers:
            receiver.say(Deliver(sealed))
        if not receivers:
            link.say(Nobody(tag))

    # --- Tags ---

    @property
    def _hour(self) -> int:
        return self._environment.clock.timestamp_us() // 1_000_000 // HOUR_S

    def _own_tags(self) -> tuple[bytes, ...]:
        own = self._environment.key.peer
        tags = [
            rendezvous_tag(key, own, hour=hour)
            for place in self._places()
            for key in self._places.own_keys(place)
            for hour in hours_around(self._hour)
        ]
        return tuple(tags)

    def register(self) -> None:
        """Say under which tags we are found, if that has changed: to members of ours and our servers alone."""
        tags = self._own_tags()
        for link in self._links:
            link.tell(tags)

    def register_soon(self) -> None:
        """Do so within a second: somebody may be no stranger any more."""
        self._stir.set()

    async def _keep_registered(self) -> None:
        while True:
            self.register()
            await asyncio.sleep(REGISTER_S_MIN)
            with suppress(TimeoutError):
                async with asyncio.timeout(REGISTER_S):
                    await self._stir.wait()
            self._stir.clear()

    # --- Reaching somebody ---

    def can_signal(self) -> bool:
        """Whether there is anybody who could hand on an offer, or will be soon."""
        return bool(self._links or self.rendezvous.servers)

    def expect(self, peer: PeerId) -> None:
        """Somebody is no stranger, though no member of a document of ours: it is to let us in."""
        self._expected.add(peer)

    async def reach(
        self,
        peer: PeerId,
        discovery_key: bytes | None = None,
        found: Callable[[], None] = lambda: None,
    ) -> Connection:
        """Connect to a peer that cannot be dialled: exchange offers, then meet.

        Args:
            peer: Whom.
            discovery_key: By which it is found; None for those of a document that we share.
            found: Told once a way is open, before it is used.

        Raises:
            DialError: Nobody could hand on the offer, or no way was found.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LINK_S_MAX):
                await self._linked.wait()
        for is_again in (False, True):
            try:
                await self._exchange(peer, discovery_key, is_again=is_again)
                return await self._traversal.dial_punched(peer, found)
            except DialError as error:
                if is_again or isinstance(error, NobodyKnowsError):
                    raise
        raise AssertionError

    async def _exchange(self, peer: PeerId, discovery_key: bytes | None, *, is_again: bool) -> None:
        """Exchange offers with a peer, and let the traversal probe where it may be."""
        if not can_be_sealed_to(peer):  # others choose whom they name as a peer
            raise DialError("wrong-key: nothing can be sealed to that peer")
        tags = self._tags_of(peer, discovery_key)
        nat = self._traversal.nat
        with_relay = keeps_relay(nat) or is_again
        candidates = await self._whereabouts.for_search(with_relay=with_relay, is_again=is_again)
        offer = self._make_offer(peer, candidates)
        key = offer.probe_key(offer.sender)
        # The peer may probe before its answer is here.
        self._traversal.punch(peer, key, (), UNKNOWN)
        exchange = _Exchange(
            offer=offer,
            search=Search(tags, self._rank_links(peer, tags[0])),
            answered=asyncio.get_running_loop().create_future(),
        )
        self._waiting[offer.offer_id] = exchange
        try:
            self._send(exchange)
            async with asyncio.timeout(ANSWER_S_MAX):
                answer = await exchange.answered
        except TimeoutError:
            is_linked = any(each.connection.peer == peer for each in self._links)
            if exchange.search.is_hopeless and not is_linked:
                raise NobodyKnowsError("nobody whom we are connected to knows the peer") from None
            raise DialError("the peer did not answer through any rendezvous") from None
        finally:
            del self._waiting[offer.offer_id]
        self._traversal.punch(peer, key, answer.candidates, answer.nat)

    def _make_offer(
        self, peer: PeerId, candidates: tuple[Candidate, ...], answers: bytes | None = None
    ) -> Offer:
        draw = self._environment.entropy.draw
        return Offer(
            offer_id=draw(OFFER_ID_BYTES),
            sender=self._environment.key.peer,
            recipient=peer,
            secret=draw(SECRET_BYTES),
            expires_us=self._environment.clock.timestamp_us() + int(LIFETIME_S * 1e6),
            nat=self._traversal.nat,
            candidates=candidates,
            answers=answers,
        )

    def _witnesses(self) -> list[PeerId]:
        """Members that may say as what they see us; servers of ours are asked for it anyway."""
        members = frozenset().union(*(place.members for place in self._places()))
        return [peer for each in self._links if (peer := each.connection.peer) in members]

    def _tags_of(self, peer: PeerId, discovery_key: bytes | None) -> tuple[bytes, ...]:
        """The tags under which a peer may be found, the likeliest first."""
        keys = [] if discovery_key is None else [discovery_key]
        keys += [key for place in self._places() if peer in place.members for key in place.keys]
        if not keys:
            raise DialError("we share no document with that peer")
        tags = [rendezvous_tag(key, peer, hour=self._hour) for key in keys]
        return tuple(dict.fromkeys(tags))[:MEETING_KEYS_MAX]

    def _rank_links(self, peer: PeerId, tag: bytes) -> list[SignalLink]:
        """Who may hand on an offer to a peer, the likeliest first; no stranger, which could not find us either."""
        near = {
            member for place in self._places() if peer in place.members for member in place.members
        }
        links = [each for each in self._links if not each.is_of_stranger]
        usable = [each for each in links if each.connection.peer != peer]
        peers = [each for each in usable if not each.is_server]
        self._turn += 1
        now = self._environment.clock.now()
        return rank(
            [each for each in usable if each.is_server],
            [each for each in peers if each.connection.peer in near],
            [each for each in peers if each.connection.peer not in near],
            turn=self._turn,
            vain={each for each in peers if each.knows_nobody(tag, now=now)},
        )

    def _send(self, exchange: _Exchange) -> None:
        """Send an offer to whom it may concern; as answers come, to others (`Nobody`)."""
        recipient = exchange.offer.recipient
        logger.info("offer.sent", extra={"peer": recipient.short, "links": len(self._links)})
        for link in self._links:
            if link.connection.peer == recipient:  # which may still work one way
                link.say(Deliver(self._seal(exchange.offer, link)))
        for asked in exchange.search.begin():
            self._ask(exchange, asked)

    def _ask(self, exchange: _Exchange, asked: tuple[SignalLink, bytes] | None) -> None:
        if asked is not None:
            link, tag = asked
            link.say(Forward(tag, self._seal(exchange.offer, link)))

    def _seal(self, offer: Offer, link: SignalLink) -> bytes:
        replied = replace(offer, reply_tag=link.reply_tag)
        return seal_offer(replied, self._environment.key, self._environment.entropy.draw)

    def _take_offer(self, link: SignalLink, sealed: bytes) -> None:
        now_us = self._environment.clock.timestamp_us()
        try:
            offer = open_offer(sealed, self._environment.key, now_us=now_us)
        except OfferError as error:
            logger.info("offer.refused", extra={"code": error.code})
            return
        # A stranger speaks for itself alone, so what it says costs no look at all of our documents.
        is_member = not link.is_of_stranger and self._is_member(offer.sender)
        if offer.answers is None and not (is_member or self._may_answer_stranger(link, offer)):
            logger.info("offer.of_stranger", extra={"peer": offer.sender.short})
            return
        if not self._log.admit(offer, now_us=now_us):
            return
        link.nobody.clear()  # it knows somebody now whom it did not know before
        logger.info(
            "offer.received",
            extra={"peer": offer.sender.short, "is_answer": offer.answers is not None},
        )
        if offer.answers is not None:
            waiting = self._waiting.get(offer.answers)
            is_asked = waiting is not None and waiting.offer.recipient == offer.sender
            if waiting is not None and is_asked and not waiting.answered.done():
                waiting.answered.set_result(offer)
            return
        if self._answering < OFFERS_ANSWERED_MAX:
            self._answering += 1
            answering = self._answer(link, offer, is_member=is_member)
            self._runtime.spawn(answering, f"answer {offer.sender.short}")

    def _is_member(self, peer: PeerId) -> bool:
        return any(peer in place.members for place in self._places())

    def _may_answer_stranger(self, link: SignalLink, offer: Offer) -> bool:
        """Whether an offer of somebody who is no member, as far as we know, is answered; that counts as an answer.

        It may hold an invite, or be a member that we have not heard of yet, and then knows a tag of ours. Who is just
        connected to us speaks for itself alone.
        """
        if link.is_of_stranger and link.connection.peer != offer.sender:
            return False
        return self._of_strangers[link.is_of_stranger].take(self._environment.clock.now())

    def _is_expected(self, link: SignalLink, peer: PeerId) -> bool:
        """Whether somebody who is no member is to learn where we are at home, and may cost us a port at a relay."""
        return peer in self._expected or (
            not link.is_of_stranger and any(place.invite_keys for place in self._places())
        )

    async def _answer(self, link: SignalLink, offer: Offer, *, is_member: bool) -> None:
        traversal, own = self._traversal, self._environment.key.peer
        is_expected = is_member or self._is_expected(link, offer.sender)
        try:
            key = offer.probe_key(own)
            traversal.punch(
                offer.sender, key, offer.candidates, offer.nat, is_stranger=not is_member
            )
            has_relay = any(each.kind is CandidateKind.RELAYED for each in offer.candidates)
            if is_expected:
                wants = wants_relay(traversal.nat, offer.nat, peer_has_relay=has_relay)
                candidates = await self._whereabouts.for_answer(offer.sender, with_relay=wants)
            else:
                candidates = await self._whereabouts.for_stranger()
            answer = self._make_offer(offer.sender, candidates, answers=offer.offer_id)
            sealed = seal_offer(answer, self._environment.key, self._environment.entropy.draw)
            if offer.reply_tag is not None and link.connection.peer != offer.sender:
                link.say(Forward(offer.reply_tag, sealed))
            else:
                link.say(Deliver(sealed))
        except OfferError as error:
            logger.info("offer.not_answered", extra={"code": error.code})
        finally:
            self._answering -= 1

    # --- Mending ---

    async def _mend(self) -> None:
        """Exchange offers again with peers whose ways have all fallen silent."""
        while True:
            peer = await self._traversal.trouble()
            if self._is_member(peer) and peer not in self._renewing:
                self._renewing.add(peer)
                self._runtime.spawn(self._renew(peer), f"renew {peer.short}")

    async def _renew(self, peer: PeerId) -> None:
        try:
            for wait_s in chain(RENEW_S, repeat(RENEW_S[-1])):
                await asyncio.sleep(wait_s)
                if not self._traversal.is_dark(peer):
                    return
                with suppress(NetworkError):
                    await self._exchange(peer, None, is_again=True)
        finally:
            self._renewing.discard(peer)
