"""Each circumstance that can keep an edit from being there has its verdict, and what decides comes first."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.explanation import (
    Circumstances,
    DocumentCircumstances,
    PeerCircumstances,
    Verdict,
    explain,
)

WELL = DocumentCircumstances(is_member=True, may_write=True, others=1)
BOB = PeerCircumstances(
    name="bob",
    is_member=True,
    addresses=("192.0.2.1:1",),
    is_connected=True,
    is_exchanging=True,
    ours=7,
    acknowledged=7,
)
AWAY = replace(BOB, is_connected=False, is_exchanging=False)

OF_DOCUMENT = {
    Verdict.NOT_A_MEMBER: replace(WELL, is_member=False, may_write=False),
    Verdict.READ_ONLY: replace(WELL, may_write=False),
    Verdict.NEWER_FORMAT: replace(WELL, may_write=False, newer_format="its format is 2"),
    Verdict.UNSAVED_EDITS: replace(WELL, unsaved_edits=3, unsaved_reason="the disk is full"),
    Verdict.UNPAID_DEBT: replace(WELL, owes_secret=True),
    Verdict.REFUSED_EDITS: replace(WELL, refused=("fork: two operations at one place",)),
    Verdict.VOID_EDITS: replace(WELL, void=2),
    Verdict.WAITING_FOR_PAST: replace(WELL, waiting=4, waited_for=("operation 3 of carol",)),
    Verdict.MISSING_SECRET: replace(WELL, blocked_for_secret=1),
    Verdict.NEEDS_UPGRADE: replace(WELL, blocked_for_version=("content of kind 99",)),
    Verdict.QUARANTINED: replace(WELL, quarantined=1),
}
OF_PEER = {
    Verdict.PEER_NOT_A_MEMBER: replace(BOB, is_member=False),
    Verdict.PEER_UNKNOWN: replace(AWAY, addresses=()),
    Verdict.PEER_UNREACHABLE: replace(AWAY, last_error="nobody answered", next_attempt_s=12.4),
    Verdict.PEER_REFUSED: replace(AWAY, is_refused=True, last_error="another network"),
    Verdict.CONNECTING: replace(AWAY, is_connecting=True),
    Verdict.NOT_EXCHANGING: replace(BOB, is_exchanging=False),
    Verdict.SENDING: replace(BOB, acknowledged=5),
    Verdict.RECEIVING: replace(BOB, announced=5),
}


@pytest.mark.parametrize("verdict", OF_DOCUMENT, ids=lambda verdict: verdict.value)
def test_each_circumstance_of_a_document_has_its_verdict(verdict: Verdict) -> None:
    for peer in (None, BOB):
        found = explain(Circumstances(document=OF_DOCUMENT[verdict], peer=peer))
        assert found.verdict is verdict


@pytest.mark.parametrize("verdict", OF_PEER, ids=lambda verdict: verdict.value)
def test_each_circumstance_of_a_peer_has_its_verdict(verdict: Verdict) -> None:
    found = explain(Circumstances(document=WELL, peer=OF_PEER[verdict]))
    assert found.verdict is verdict


def test_all_verdicts_can_be_had() -> None:
    others = {Verdict.IN_SYNC, Verdict.NOBODY_ELSE}
    assert set(OF_DOCUMENT) | set(OF_PEER) | others == set(Verdict)


def test_without_anything_in_the_way_all_is_in_sync() -> None:
    for peer in (None, BOB):
        assert explain(Circumstances(document=WELL, peer=peer)).verdict is Verdict.IN_SYNC


def test_who_is_alone_is_told_so() -> None:
    alone = replace(WELL, others=0)
    assert explain(Circumstances(document=alone)).verdict is Verdict.NOBODY_ELSE


def test_what_waits_for_a_peer_that_is_away_is_told_as_well() -> None:
    found = explain(Circumstances(document=WELL, peer=replace(AWAY, acknowledged=3)))
    assert [finding.verdict for finding in found.findings] == [
        Verdict.PEER_UNREACHABLE,
        Verdict.SENDING,
    ]
    assert "3 of 7" in found.findings[1].evidence


@given(
    st.sampled_from(sorted(OF_DOCUMENT, key=lambda verdict: verdict.value)),
    st.sampled_from(sorted(OF_PEER, key=lambda verdict: verdict.value)),
)
def test_of_two_the_earlier_on_the_way_of_an_edit_decides(one: Verdict, other: Verdict) -> None:
    found = explain(Circumstances(document=OF_DOCUMENT[one], peer=OF_PEER[other]))
    order = list(Verdict)
    told = [finding.verdict for finding in found.findings]
    assert {one, other} <= set(told)
    assert told == sorted(told, key=order.index)
    assert all(finding.evidence and finding.action for finding in found.findings)
