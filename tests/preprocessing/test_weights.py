import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.corpora import Tsv
from preprocessing.reading import Pair
from preprocessing.weights import copies_of, is_copy, repeat


def pair(number: int, weight: float, split: str = "train") -> Pair:
    return Pair(f"00000-a.de:{number:09d}", split, b"satz %d" % number, b"sentence", "a.de", number, weight)


@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0, 2.0, 2.5])
def test_shares(weight: float) -> None:
    copies = [copies_of(pair(number, weight)) for number in range(4000)]
    assert set(copies) <= {int(weight), int(weight) + 1}
    assert abs(sum(copies) / 4000 - weight) < (0.03 if weight % 1 else 1e-9)


@given(st.floats(0.01, 5), st.floats(0.01, 5), st.integers(0, 10**6))
def test_more_weight_takes_nothing_away(one: float, other: float, number: int) -> None:
    few, many = sorted([one, other])
    assert copies_of(pair(number, few)) <= copies_of(pair(number, many))
    assert copies_of(pair(number, one, "test")) == copies_of(pair(number, one, "validation")) == 1


def test_which_ones_depends_on_the_texts_alone() -> None:
    kept = [pair(number, 0.5) for number in range(100) if copies_of(pair(number, 0.5))]
    assert all(copies_of(one._replace(key="00007-other:000000001", file="other", line=1)) for one in kept)


def test_copies_have_keys_of_their_own() -> None:
    found = list(repeat(pair(17, 3.0), 3))
    assert [one.key for one in found] == [
        "00000-a.de:000000017",
        "00000-a.de:000000017#2",
        "00000-a.de:000000017#3",
    ]
    assert [is_copy(one.key) for one in found] == [False, True, True] and not is_copy("00000-a#2.de:000000017")
    assert {one._replace(key="") for one in found} == {pair(17, 3.0)._replace(key="")}
    assert list(repeat(pair(17, 0.5), 0)) == []


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_weights(weight: float) -> None:
    with pytest.raises(ValueError, match="weight must be a number above 0, got"):
        Tsv("a", weight=weight)
