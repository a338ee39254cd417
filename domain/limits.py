"""Every bound of culm, with its unit in the name and its reason beside it.

A bound that both sides of a connection must agree on is part of the protocol (`docs/protocol.md`); the others
are ours alone and may change in any release.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- Operations (protocol) ---
BODY_BYTES_MAX: Final = 16 * MIB  # one operation is held in memory whole
PREVIOUS_COUNT_MAX: Final = 64  # 2.2 KB of header; beyond it a merge operation goes first
HEADER_BYTES_MAX: Final = 4 * KIB  # 64 `previous` of 34 bytes and 400 bytes for the rest, with room
CONTROL_BODY_BYTES_MAX: Final = 256 * KIB  # a secret for each of 1,000 recipients fits
SECRETS_PER_DISTRIBUTION_MAX: Final = 1_024  # 70 KB: as ids in clear, and as keys for a recipient
RECIPIENTS_PER_DISTRIBUTION_MAX: Final = 1_000  # a pairwise message of one secret has 220 bytes
LOGS_PER_DEVICE_MAX: Final = 64  # a device that keeps starting new logs is broken or hostile
SEQ_NUM_MAX: Final = 2**32 - 1  # p2panda-core: u32
TIMESTAMP_MAX: Final = 2**64 - 1  # p2panda node extension: u64 microseconds

# --- CRDT updates (protocol: every replica must refuse the same ones) ---
UPDATE_BYTES_MAX: Final = (
    BODY_BYTES_MAX - 40
)  # sealed, it has a nonce of 24 and a tag of 16 bytes more
UPDATE_STRUCTS_MAX: Final = 200_000  # a struct costs about 500 bytes in memory: 100 MB at worst
UPDATE_CLIENTS_MAX: Final = 64  # every client id stays in the state vector for ever
UPDATE_DELETE_RANGES_MAX: Final = 200_000
UPDATE_ANY_DEPTH_MAX: Final = 64  # yrs and Python both recurse
UPDATE_TYPES_DEPTH_MAX: Final = (
    128  # yrs recurses where it deletes and prints: so many are well within a stack of 128 KiB
)
UPDATE_VALUES_MAX: Final = (
    1_000_000  # a value of 1 byte takes 24 bytes or more in memory: 100 MB at worst
)
CLIENT_ID_MAX: Final = 2**53 - 1  # Yjs keeps client ids in JavaScript numbers
CLOCK_MAX: Final = 2**32 - 1  # yrs keeps clocks in u32
CLAIMED_CLIENTS_MAX: Final = 1_024  # ids that one claim operation may bring

# --- Devices (protocol) ---
DEVICE_NAME_BYTES_MAX: Final = 128  # a line for people, in any script
DEVICE_CAPABILITIES_MAX: Final = 16
CAPABILITY_WORD_BYTES_MAX: Final = 32
DEVICE_METADATA_BYTES_MAX: Final = 1 * KIB  # the name and all capabilities, with room

# --- Sync (protocol) ---
MESSAGE_BYTES_MAX: Final = 320 * KIB  # a part of a body, its header and framing
BODY_PART_BYTES_MAX: Final = 256 * KIB  # so that live edits pass between the parts of a large body
HAVE_PAGE_LOGS_MAX: Final = 512  # 40 KB a page
HAVE_LOGS_MAX: Final = 65_536  # 128 pages: 512 devices that use all of their logs
DIGESTS_PER_MESSAGE_MAX: Final = 512
STRANGER_OPERATIONS_MAX: Final = 256  # what somebody with an invite may push before being a member

# --- Memory of one node ---
LOGS_FROM_AUTHOR_MAX: Final = (
    256  # that a device may begin with us, branches too; an honest one has 64, and copies a few
)
PARKED_OPERATIONS_MAX: Final = (
    4_096  # per document; dropped ones come again with the next exchange of heights
)
PARKED_BYTES_MAX: Final = 32 * MIB
INBOX_OPERATIONS_MAX: Final = 1_024  # per document, received and not yet stored
INBOX_BYTES_MAX: Final = 8 * MIB
EVENT_QUEUE_MAX: Final = (
    4_096  # events that a listener has not taken; the oldest are then dropped and counted
)
POSITIONS_CACHED_MAX: Final = (
    16_384  # recent operation ids kept in memory for a document (about 2 MB)
)
LOG_KEYS_CACHED_MAX: Final = 4_096  # of logs that peers named last (about 2 MB)

MEMBERSHIPS_CACHED_MAX: Final = (
    1_024  # causal pasts, and roles in them, that are remembered: a look-up walks the changes
)
ODDS_MAX: Final = 4_096  # pairs of changes at odds; with more, every look-up resolves them all

# --- Local edits ---
REFUSALS_KEPT_MAX: Final = (
    64  # of a document, for who asks what became of edits; older ones become one
)
COALESCE_S_MAX: Final = 0.020  # signing each keystroke costs 30 times the CRDT work
COALESCE_BYTES_MAX: Final = 64 * KIB
COALESCE_EDITS_MAX: Final = 1_024  # one transaction over very many updates is quadratic in yrs
STAGED_OPERATIONS_MAX: Final = 32  # signed in one go; so many of 1,024 edits each take about 100 ms
STUCK_S: Final = (
    60.0  # what heals by itself has healed by then: a restart, a reconnect, a secret on its way
)
STORE_RETRY_S: Final = 1.0  # how long an edit that could not be written waits for the next try

# --- Documents ---
SNAPSHOT_OPERATIONS_MAX: Final = 2_048  # replaying so many takes about 100 ms
SNAPSHOT_BYTES_MAX: Final = 256 * MIB
RECORD_BYTES_MAX: Final = 256 * MIB  # edits that are to be written again may stand in it
DOCUMENT_NAME_BYTES_MAX: Final = 1 * KIB

# --- Secrets ---
PREKEY_LIFE_S: Final = 84 * 86_400.0  # as p2panda has it; who was away for longer is sent nothing
PREKEY_RENEW_S: Final = 28 * 86_400.0  # a new one goes out so long before the old one expires
PREKEYS_KEPT_MAX: Final = 16  # of our own: senders that were away for years use an old one
GIFT_BYTES_MAX: Final = 192 * KIB  # pairwise messages in one distribution, with room for the rest

# --- Invites (protocol) ---
INVITE_TEXT_BYTES_MAX: Final = 8 * KIB  # 16 addresses and a name of 1 KiB, in base64
INVITE_ADDRESSES_MAX: Final = 16
INVITE_OTHERS_MAX: Final = 4  # other managers who can admit while the inviter is away
INVITE_USES_MAX: Final = 10_000
INVITE_EXPIRES_S_MAX: Final = 10 * 365 * 86_400

# --- Connections (protocol) ---
HELLO_S_MAX: Final = 10.0
HELLO_BYTES_MAX: Final = 4 * KIB
CAPABILITIES_MAX: Final = 64
NETWORK_ID_BYTES_MAX: Final = 64
ADDRESS_BYTES_MAX: Final = 255
CLOSE_REASON_BYTES_MAX: Final = 200
CHANNEL_NAME_BYTES: Final = 32

# --- Texts and mirrored files ---
DIFFERENCE_STEPS_MAX: Final = (
    1_000_000  # about 0.4 s of comparing; then a passage is replaced as a whole
)
TEXT_EDITS_MAX: Final = 1_024  # made at once: the work of the engine grows with their square
PORTION_EDITS_MAX: Final = 256  # about 50 ms, then others have their turn
PORTION_BYTES_MAX: Final = (
    768 * KIB
)  # at most 25 operations of up to 64 KiB, of the 32 that one commit of our own holds
CLUSTER_CODE_POINTS_MAX: Final = 64  # the longest emoji sequences have 10 code points
MIRROR_START_TRIES_MAX: Final = 50  # 5 s in which the file must be at rest once
MIRROR_FILE_BYTES_MAX: Final = 8 * MIB  # held three times in memory, and compared in about a second
MIRROR_DISPLACED_FILES_MAX: Final = 4  # kept open, each held in memory once: editors end soon
MIRROR_KEPT_FILES_MAX: Final = 100  # beside one file; nobody looks at more

# --- Storage ---
WRITE_QUEUE_JOBS_MAX: Final = 256  # callers that wait for a commit; more wait for their turn
WRITE_BATCH_OPERATIONS_MAX: Final = (
    1_024  # one transaction: about 100 ms, then others get their answer
)
WRITE_BATCH_BYTES_MAX: Final = (
    4 * MIB
)  # likewise; one larger operation makes a transaction of its own
READ_QUEUE_JOBS_MAX: Final = 256  # callers that wait for a reader
READ_ROWS_MAX: Final = (
    4_096  # places looked at in one query, 100 bytes each, before bodies are read
)
READ_LOGS_MAX: Final = 64  # logs searched one by one; beyond, reading in arrival order is cheaper
QUERY_VALUES_MAX: Final = 500  # values listed in one query; SQLite once took at most 999
HEADS_CACHED_MAX: Final = 1_024  # documents whose heads and log numbers the writer remembers
ACKNOWLEDGED_FLUSH_S: Final = (
    1.0  # the port allows to lose the last second; a commit costs milliseconds
)
ACKNOWLEDGED_PENDING_MAX: Final = 65_536  # heights in memory (about 8 MB); then acknowledging waits
QUICK_CHECK_BYTES_MAX: Final = 32 * MIB  # opening a larger database would wait for 100 ms and more

# --- Transport (protocol) ---
CHANNEL_EPOCH_MAX: Final = 2**30 - 1  # reopened ten times a second, three years
CAPABILITY_BYTES_MAX: Final = 64
PROTOCOL_VERSIONS_MAX: Final = 64
CHANNELS_OPEN_MAX: Final = (
    64  # streams open each way: the engine's work for an edit on all at once is quadratic
)
STREAMS_UNREAD_MAX: Final = 128  # open ones, and as many that are closed and still on their way
IDLE_S_MAX: Final = 90.0  # QUIC's own time-out; `PEER_SILENCE_S_MAX` ends a connection long before
PEER_QUIET_S: Final = 15.0  # a peer that is not heard for so long is shown as quiet
PEER_SILENCE_S_MAX: Final = (
    40.0  # ... and is gone after so long: lines that are down for 30 s return
)
KEEPALIVE_S: Final = (
    10.0  # who has heard nothing for so long asks; 5 s are left for QUIC to repeat the question
)
PACKETS_KEEPALIVE_S: Final = 40.0  # probes are no packets to QUIC; a node's heartbeat comes first
HEARTBEAT_S: Final = 30.0  # the dialler asks the other node, not only its QUIC, whether it lives
HEARTBEAT_ANSWER_S_MAX: Final = (
    20.0  # a node that reads nothing for so long is as good as gone; a silent one is quiet before
)

# --- Reaching peers (ours) ---
BACK_OFF_S_MIN: Final = 0.5  # the first wait; a restart takes about as long
BACK_OFF_S_MAX: Final = 30.0  # what a person waits for at worst after the network is back
SLOW_RETRY_S: Final = 30.0  # where dialling again soon cannot help: the peer has said no
RETRIES_MAX: Final = (
    60  # tries in a row, about 18 minutes; waiting 15 more then at most doubles the outage
)
FAILED_RETRY_S: Final = 900.0  # never given up: a failed peer costs one dial in 15 minutes
UNUSED_S_MAX: Final = 300.0  # a connection that carries no document is kept so long for the next
STRANGER_S_MAX: Final = 30.0  # ... and for who shares no document with us: it joins at once, or not
STRANGERS_MAX: Final = 256  # connections of those: 25 MB; who joins is none for long
PREFIX_STRANGERS_MAX: Final = 64  # of those, from one address prefix: a quarter
SERVED_STRANGERS_MAX: Final = 4_096  # ... to a rendezvous: 400 MB
PREFIX_SERVED_STRANGERS_MAX: Final = 512  # a provider has very many homes behind few addresses
STRANGERS_LOOKED_AT_MAX: Final = 32  # whether they are of use, for each that is one too many
CROSSING_S_MAX: Final = (
    0.5  # who takes a dial cancels its own: what is still on its way arrives so soon
)
BRIEF_S: Final = 1.0  # a connection that ended so soon counts as a failure to connect
HEARTBEATS_QUEUED_MAX: Final = 16  # answers that wait for a peer which takes nothing
PEERS_DIALLED_MAX: Final = 64  # dials going on at once; a handshake takes about 70 KB and 3 ms
PEER_ADDRESSES_MAX: Final = 8  # remembered for each peer: those that were given, then the latest
PEER_ADDRESSES_RECALLED: Final = 4  # of those on disk, where it does not say which were given
NEARBY_S_MAX: Final = (
    3_600.0  # where a peer was seen nearby: names change hourly, and are seen anew
)
LIFECYCLE_CHANGES_MAX: Final = 32  # one attempt has 12 at most; taken out within a turn of the loop
ERRORS_KEPT_MAX: Final = 100  # the last ones, for who looks for a fault
SECURITY_EVENTS_KEPT_MAX: Final = 100
STATISTICS_PEERS_MAX: Final = 4_096  # peers counted one by one; what others did is in the totals

# --- Transport (ours) ---
CHANNELS_UNASKED_MAX: Final = (
    1_024  # names that a peer uses and we have not asked for; more wait in the peer
)
DIAL_S_MAX: Final = (
    3.0  # without any answer an address is given up: four Initial packets went unanswered
)
DIAL_STAGGER_S: Final = 0.25  # until the next address is tried, too (RFC 8305, 5)
ADDRESSES_DIALLED_MAX: Final = 8  # of one peer at once: so many handshakes of 70 KB
HAND_OVER_S_MAX: Final = 0.5  # how long a closing node waits for peers to take what it wrote last
CLOSE_LINGER_S: Final = 0.1  # how long a closing node answers, so that its peers learn why
HALF_OPEN_MAX: Final = 256  # handshakes going on; one costs about 70 KB
HALF_OPEN_RETRY: Final = (
    64  # from so many on, a dialler has to prove its address first (Retry, RFC 9000 8.1)
)
PREFIX_HALF_OPEN_MAX: Final = 64  # of those, from one address prefix: a quarter
DIALLERS_PER_S: Final = 200.0  # handshakes; at 2.5 ms each that is half of a core
DIALLERS_BURST: Final = 400.0  # all peers of a large node that come back at once
PREFIX_DIALLERS_PER_S: Final = 20.0  # from one address prefix: a site of some hundred nodes in 10 s
PREFIX_DIALLERS_BURST: Final = 100.0
PREFIXES_KEPT_MAX: Final = 4_096  # prefixes that are remembered: 1 MB
IDLE_DATAGRAMS_PER_S: Final = 200.0  # of one connection, that bring nothing new: 10 % of a core
IDLE_DATAGRAMS_BURST: Final = 2_000.0  # a flight that is sent a second time
UNREADABLE_DATAGRAMS_PER_S: Final = 200.0  # of one connection; refusing one takes 0.1 ms
UNREADABLE_DATAGRAMS_BURST: Final = 400.0  # beyond, each is only glanced at, which takes 7 us
STRANGE_DATAGRAMS_PER_S: Final = 100.0  # ... from where the peer has never answered: half of those
STRANGE_DATAGRAMS_BURST: Final = 128.0  # the peer has moved: two batches, until one of them is read
STREAMS_PER_S: Final = 1_000.0  # that a peer may end and open again, on average: 15 % of a core
STREAMS_BURST: Final = 2_000.0
TURN_MESSAGES_MAX: Final = 32  # a reader takes so many messages, then others have their turn
ACCEPT_QUEUE_MAX: Final = 128  # connections that nobody has taken
BEHIND_S_MAX: Final = 1.0  # a timer waits so long for datagrams that have arrived and not been read
RECEIVE_BATCH_MAX: Final = (
    64  # datagrams read in one go, so that one socket does not hold up the loop
)
SEND_BACKLOG_MAX: Final = (
    4_096  # datagrams that a full socket did not take; more are lost, as on any link
)
LIVE_BYTES_MAX: Final = (
    64 * KIB
)  # more operations at a time go on a channel of their own: 26 ms at 20 Mbit/s
STREAM_UNUSED_S: Final = 30.0  # a stream costs both ends about 3 KB; reopening it costs 33 bytes
UNSENT_S: Final = 0.010  # so much of what its path takes may wait in a stream: none runs dry
UNSENT_BYTES_MIN: Final = 8 * KIB  # the least that `UNSENT_S` is, in bytes: a few packets
UNSENT_BYTES_MAX: Final = (
    64 * KIB
)  # the most: 10 ms at 50 Mbit/s; what waits in a stream cannot be overtaken within it
CONNECTION_UNACKNOWLEDGED_BYTES_MAX: Final = (
    4 * MIB
)  # bounds memory: 100 Mbit/s at a round trip of 300 ms
HELLO_WINDOW_BYTES: Final = (
    16 * KIB
)  # receive credit before the hello: two messages of 4 KiB, with room
RECEIVE_WINDOW_BYTES_MIN: Final = 64 * KIB  # what every connection gets: 64 MB for 1,000 of them
RECEIVE_WINDOW_BYTES_MAX: Final = 4 * MIB  # what one stream may have outstanding
CONNECTION_RECEIVE_BYTES_MAX: Final = 16 * MIB  # the same for all streams of a connection together
RECEIVE_BUDGET_BYTES: Final = (
    64 * MIB
)  # beyond the minimum, for all connections of one node together

# --- Control socket ---
CONTROL_REQUEST_BYTES_MAX: Final = 1 * MIB  # a command and its arguments; files are named, not sent
CONTROL_ANSWER_BYTES_MAX: Final = 64 * MIB  # a whole text of a document, escaped, in one line
CONTROL_CONNECTIONS_MAX: Final = 64  # each may hold a request in memory
CONTROL_REQUEST_S_MAX: Final = 10.0  # who connects has something to say
CONTROL_ACCEPT_S_MAX: Final = (
    30.0  # a busy node takes a command within seconds, one that is suspended never
)
CONTROL_CONNECT_TRIES_MAX: Final = 200  # 2 s, while more connect at once than the system lets wait

# --- Reaching peers (protocol) ---
MEETING_KEYS_MAX: Final = 4  # secrets back that a member who was away may still go by
CANDIDATES_MAX: Final = 16  # host, reflexive and relayed addresses of both IP versions, with room
OFFER_BYTES_MAX: Final = 4 * KIB  # 16 candidates of 255 bytes do not fit, 16 of the usual 30 do
OFFER_S_MAX: Final = 60.0  # what an offer opens is forgotten then; also how far clocks may differ
RENDEZVOUS_TAGS_MAX: Final = 512  # that one connection may register: 3 hours of 170 documents

# --- Reaching peers (ours) ---
VERDICT_ADDRESSES_MAX: Final = 16  # of a machine, and outside, that a verdict about a NAT names
VERDICT_BYTES_MAX: Final = 16 * KIB  # 32 addresses of 255 bytes, with room
WITNESSED_MAX: Final = (
    3  # addresses that are offered on the word of members, or of servers: 120 probes
)
PREDICTED_AFTER_MAX: Final = 6  # ports that a box may give next, which are offered: with those
PREDICTED_BEFORE_MAX: Final = 4  # ... that it gave just before, 400 probes of a peer at most
PREDICTION_S: Final = 5.0  # they are looked for once in so long: the guess is worth nothing later
ANNOUNCED_NAMES_MAX: Final = 32  # one for each document: what a packet of mDNS holds with addresses
LOOKED_FOR_NAMES_MAX: Final = 16_384  # members of all documents, by key and hour: 1 MB
SIGHTING_ADDRESSES_MAX: Final = 4  # that one announcement is believed to have
SIGHTINGS_PER_S: Final = 1 / 30  # of one peer that make us dial: back-off does the rest
SIGHTINGS_BURST: Final = 3.0  # it moves, and comes with a second interface
MEETING_INVITES_MAX: Final = 8  # the latest invites of a document that others may find us by
OLD_KEY_S: Final = 3_600.0  # a key that was replaced still finds us for so long: who writes is told
HOST_ADDRESSES_MAX: Final = 6  # of this machine that are told to others: containers bring many
OFFERS_KEPT_MAX: Final = 1_024  # ids of offers that have come, for a minute at most: 100 KB
LEARNT_PAIRS_MAX: Final = 8  # sources that a peer's probes came from and that no offer named
PAIRS_MAX: Final = (
    48  # ways kept for one peer: 16 candidates by socket and by relay, and learnt ones
)
PROBE_KEYS_MAX: Final = 4  # keys that one path knows: that of the hello and the last offers
PROBES_OUTSTANDING_MAX: Final = 16  # pings of one pair that may still be answered
PUNCHES_MAX: Final = 128  # peers that are being reached at once
PUNCH_PROBES_MAX: Final = 40  # unanswered pings to one candidate: 2.2 KB, whoever lives there
HOST_PROBES_PER_S: Final = (
    50.0  # unanswered pings to one host, for all peers: 4 KB/s, whoever lives there
)
HOST_PROBES_BURST: Final = (
    2_000.0  # fifty peers behind one box, or with ports at one relay, at once
)
STRANGER_HOST_PROBES_PER_S: Final = 1.0  # ... for all who are no members of ours: 84 bytes/s
STRANGER_HOST_PROBES_BURST: Final = 80.0  # two candidates of one joiner
PROBED_HOSTS_MAX: Final = 4_096  # hosts that are remembered: 1 MB
PUNCH_FAST_PROBES: Final = 16  # these come every `PUNCH_FAST_S`
PUNCH_FAST_S: Final = 0.05  # a lost ping costs so much
PUNCH_SLOW_S: Final = 0.25
PUNCH_ANSWER_S_MAX: Final = 2.0  # the last of them may still be answered
PROBE_ACTIVE_S: Final = 4.0  # the pair in use, by the dialler; NAT boxes forget after 30 s
PROBE_LEFT_S: Final = 4.5  # the listener asks when the dialler has not asked for so long ...
PROBE_FOLLOWED_S: Final = 30.0  # ... and now and then, to know the round trip
PROBE_WARM_S: Final = 15.0  # at most two more
WARM_PAIRS_MAX: Final = 2
PROBE_COLD_S: Final = 10.0  # direct pairs that were lost, while a relay carries everything
PROBE_MISSED_S: Final = (
    0.25,
    0.5,
    1.0,
    2.0,
)  # waits for a pong, one after the other; then it is dead
TRIAL_PINGS: Final = (
    20  # on each of two ways, when one may have become bad: 4.5 KB with the answers
)
TRIAL_PING_S: Final = 0.2  # so that a trial takes 4 s
TRIAL_HEAR_S: Final = 1.0  # for the last answers
TRIAL_PAUSE_S: Final = 15.0  # from the beginning of one trial to that of the next on the same path
POOR_S_MIN: Final = 30.0  # a way that was left is tried again after so long ...
POOR_S_MAX: Final = 480.0  # ... and after twice as long each time that it is still bad, up to this
STRANGER_PROBE_S: Final = 1.0  # an unknown source gets one ping in so long
SILENCE_S: Final = 0.5  # without an answer to what was sent for so long, the way is doubted
FORWARDS_PER_S: Final = 5.0  # offers that one connection may hand on, or in, on average
FORWARDS_BURST: Final = 20.0
SERVER_SIGNALS_PER_S: Final = 20.0  # through our rendezvous come the offers of all our peers
SERVER_SIGNALS_BURST: Final = 100.0  # those of a large document after an outage
STRANGER_OFFERS_PER_S: Final = 1.0  # answered, of all who are no members of ours together
STRANGER_OFFERS_BURST: Final = 16.0  # people in one room join by one invite
SERVERS_CONFIGURED_MAX: Final = 8  # rendezvous servers that this node is told to use
SERVERS_LEARNT_MAX: Final = 8  # those that addresses of peers name: a connection each, all the time
SERVERS_BY_PEER_MAX: Final = 4  # of one peer: as many as an offer goes through at once
PEERS_BY_SERVER_MAX: Final = 256  # that are remembered, since they named it; one member is enough
SIGNAL_ROUTES_MAX: Final = 4  # who is asked at once for a peer, and connections that get an offer
SIGNAL_LINKS_ASKED_MAX: Final = 32  # for one offer, while all know nobody: in 6 s, a message each
NOBODY_S: Final = 30.0  # who knows nobody under a tag is asked again after that: who comes back looks for us by itself
NOBODY_TAGS_MAX: Final = 1_024  # of one connection: members, under the keys of a document or two
OFFERS_ANSWERED_MAX: Final = 32  # offers being answered at once
