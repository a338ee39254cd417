"""The watch over all that is logged sees a secret in any form, and nothing else."""

import logging
import random

import pytest

from domain.founding import new_prekey
from domain.identity import DeviceKey
from domain.sealing import DocumentSecret
from tests.secrecy import SecrecyWatch, forms
from tests.strategies import SeededEntropy


@pytest.fixture
def watch() -> SecrecyWatch:
    return SecrecyWatch()


def test_secret_in_any_form_is_seen(watch: SecrecyWatch, seed: int) -> None:
    secret = random.Random(seed).randbytes(32)
    watch.note(secret)
    for form in forms(secret):
        assert watch.shows_secret(f"before {form} after")
    assert watch.shows_secret("an invite: culm1" + "A" * 50)
    assert not watch.shows_secret(f"another: {random.Random(seed + 1).randbytes(32).hex()}")
    assert not watch.shows_secret("nothing")


def test_records_are_searched_with_all_that_goes_with_them(watch: SecrecyWatch, seed: int) -> None:
    secret = random.Random(seed).randbytes(32)
    watch.note(secret)
    logger = logging.getLogger("tests.secrecy")
    logger.propagate = False
    logger.addHandler(watch)
    logger.warning("any.event", extra={"peer": "1f0c"})
    assert watch.found() is None
    logger.warning("any.event", extra={"value": secret})
    assert watch.found() is not None
    watch.start()
    assert watch.found() is None
    try:
        int(secret.hex() + "z")  # a traceback shows what was tried
    except ValueError:
        logger.exception("any.event")
    assert watch.found() is not None
    logger.removeHandler(watch)


def test_every_class_that_holds_a_secret_tells_of_it(
    secrecy_watch: SecrecyWatch, seed: int
) -> None:
    chance = random.Random(seed)
    key, secret = DeviceKey(chance.randbytes(32)), DocumentSecret(chance.randbytes(32))
    pair = new_prekey(key, now_us=0, entropy=SeededEntropy(seed))
    for value in (key.seed, secret.key, pair.private):
        assert secrecy_watch.shows_secret(value.hex())
