from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.filters import FilterOptions
from preprocessing.judge import JudgePairs
from preprocessing.reading import Pair
from preprocessing.splits import split_by_hash
from preprocessing.text import TextConfig

SIDE = st.binary(max_size=9) | st.text(max_size=9).map(lambda text: text.encode("utf-8", "ignore"))
SPLITS = st.sampled_from([None, "train", "validation", "test"])


@pytest.fixture(scope="module")
def judge() -> JudgePairs:
    choose = partial(split_by_hash, validation_fraction=0.3, test_fraction=0.3, salt="")
    limits = FilterOptions(max_source_length=4, max_target_length=5, max_length_ratio=2.0)
    step = JudgePairs(TextConfig(unit="character"), TextConfig(), limits, choose)
    step.setup()
    return step


def decide(judge: JudgePairs, pairs: Sequence[Pair]) -> dict[str, tuple[object, ...]]:
    """What became of each pair, by key."""
    outcome: dict[str, tuple[object, ...]] = {}
    for result in judge.process(pairs):
        key = result.key if isinstance(result, Pair) else result.value.example[0]
        assert key not in outcome
        outcome[key] = tuple(result) if isinstance(result, Pair) else tuple(result.value)
    return outcome


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(SPLITS, SIDE, SIDE), max_size=12))
def test_every_pair_has_one_outcome_whatever_the_batch(
    judge: JudgePairs, found: list[tuple[None, bytes, bytes]]
) -> None:
    pairs = [Pair(f"k{n:03d}", *item, "f", n) for n, item in enumerate(found)]
    together = decide(judge, pairs)
    assert set(together) == {pair.key for pair in pairs}
    alone = {key: result for pair in pairs for key, result in decide(judge, [pair]).items()}
    assert together == alone


@pytest.mark.parametrize(
    ("split", "source", "target", "outcome"),
    [
        ("train", "ÄÖÜx", "A b", "äöüx"),
        ("train", "abcde", "a b", "source_too_long"),
        ("test", "abcde", "a b", "abcde"),
        (None, "abcde", "a b", "source_too_long"),
        ("train", "abcd", "a b c d e f", "target_too_long"),
        ("train", "abc", "a", "length_ratio"),
        ("validation", "abc", "a", "abc"),
        ("test", " \u3000", "a", "empty_source"),
        ("validation", "a", "\u2028", "empty_target"),
        ("test", "a\0", "a", "nul_byte"),
    ],
)
def test_lengths_judge_training_only(judge: JudgePairs, split: None, source: str, target: str, outcome: str) -> None:
    result = decide(judge, [Pair("k", split, source.encode(), target.encode(), "f", 1)])["k"]
    assert outcome in (result[1], bytes(result[2]).decode() if isinstance(result[2], bytes) else None)
