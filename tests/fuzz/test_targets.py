"""Whatever is read from outside is read, or refused with a typed error: random bytes, and good ones with damage.

`make fuzz` feeds the same targets for longer, guided by coverage.
"""

import json
import random
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.damage import damage
from tests.fuzz.targets import CORPUS, TARGETS, Target
from tests.strategies import seeds

BY_NAME: Final = {target.name: target for target in TARGETS}
DAMAGED: Final = 300
each_target: Final[Callable[..., pytest.MarkDecorator]] = pytest.mark.parametrize(
    "target", TARGETS, ids=lambda target: target.name
)


@each_target
def test_examples_are_taken(target: Target) -> None:
    taken = [target.try_input(data) for data in target.examples()]
    assert any(taken), "nothing here is in good form"


@each_target
def test_inputs_of_the_corpus_end_well(target: Target) -> None:
    for data in target.corpus():
        target.try_input(data)


def test_corpus_is_small_and_for_targets_that_exist() -> None:
    kept = json.loads(CORPUS.read_text(encoding="utf-8"))
    assert kept.keys() <= BY_NAME.keys()
    assert CORPUS.stat().st_size < 200_000


@each_target
@given(data=st.binary(max_size=200))
def test_random_bytes_end_well(target: Target, data: bytes) -> None:
    target.try_input(data)


@each_target
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_damaged_examples_end_well(target: Target, seed: int) -> None:
    chance, corpus = random.Random(seed), target.corpus()
    for _ in range(DAMAGED // 5):
        data = damage(chance, corpus)
        try:
            target.try_input(data)
        except Exception as error:
            error.add_note(f"{target.name} met {data.hex()}")
            raise


def test_damage_depends_on_chance_alone_and_keeps_some_of_what_was_good() -> None:
    good = [bytes(range(64))]
    made = [[damage(random.Random(seed), good) for seed in range(50)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) > 40
    assert sum(good[0][:8] in data or good[0][-8:] in data for data in made[0]) > 10
