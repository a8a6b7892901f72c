import itertools

from hypothesis import given
from hypothesis import strategies as st

from preprocessing.filters import Reason
from preprocessing.reading import Pair, PairCoder
from preprocessing.splits import settle, split_by_hash

PAIR_LISTS = st.lists(
    st.tuples(st.sampled_from(["train", "validation", "test"]), st.sampled_from([b"x", b"y"]), st.booleans()),
    max_size=8,
).map(
    lambda items: [
        Pair(f"k{n}", split, b"same", target, "f", n, given=given) for n, (split, target, given) in enumerate(items)
    ]
)


def test_shares_and_stability() -> None:
    splits = [split_by_hash(b"sentence %d" % n, 0.2, 0.1, "salt") for n in range(20_000)]
    assert abs(splits.count("test") / 20_000 - 0.1) < 0.01
    assert abs(splits.count("validation") / 20_000 - 0.2) < 0.01
    assert split_by_hash(b"sentence 7", 0.2, 0.1, "salt") == splits[7]
    assert [split_by_hash(b"sentence %d" % n, 0.2, 0.1, "other") for n in range(100)] != splits[:100]
    assert {split_by_hash(b"sentence %d" % n, 0.0, 0.0, "salt") for n in range(1000)} == {"train"}


def test_more_validation_leaves_the_test_split_alone() -> None:
    texts = [b"sentence %d" % n for n in range(2000)]
    few, many = ([split_by_hash(text, share, 0.1, "") == "test" for text in texts] for share in (0.0, 0.5))
    assert few == many


@given(PAIR_LISTS.filter(bool))
def test_a_source_is_in_one_split_and_order_does_not_matter(pairs: list[Pair]) -> None:
    verdicts = dict(settle(pairs))
    assert set(verdicts) == set(pairs)
    kept = [pair for pair in pairs if verdicts[pair] is None]
    assert len({pair.split for pair in kept}) == 1
    found = {(pair.split, pair.given) for pair in pairs}
    order_of_splits = [("test", True), ("validation", True), ("test", False), ("validation", False)]
    assert kept[0].split == next((split for split, given in order_of_splits if (split, given) in found), "train")
    assert kept == [pair for pair in pairs if pair.split == kept[0].split]
    assert {verdicts[pair] for pair in pairs if pair not in kept} <= {Reason.SOURCE_IN_OTHER_SPLIT}
    for order in itertools.islice(itertools.permutations(pairs), 10):
        assert dict(settle(order)) == verdicts


@given(st.text(), st.sampled_from([None, "train"]), st.binary(), st.binary(), st.text(), st.integers(0, 2**40))
def test_pair_coder_round_trip(key: str, split: None, source: bytes, target: bytes, file: str, line: int) -> None:
    pair = Pair(
        key.encode("utf-8", "ignore").decode(),
        split,
        source,
        target,
        file.encode("utf-8", "ignore").decode(),
        line,
        0.1 * line,
        "domain",
        split is not None,
    )
    decoded = PairCoder().decode(PairCoder().encode(pair))
    assert decoded == pair
    assert type(decoded) is Pair
