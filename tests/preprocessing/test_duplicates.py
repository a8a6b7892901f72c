import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.duplicates import keep_first, near_form, pair_key, source_key
from preprocessing.filters import Reason
from preprocessing.reading import Pair

TEXT = st.text().map(lambda text: text.encode("utf-8", "ignore"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Kapitel 1: Der Hund!", "kapitel 12 , der  hund"),
        ("Straße", "STRASSE"),
        ("ＡＢＣ\u00a0１", "abc"),  # noqa: RUF001
        ("Caf\u00e9", "cafe\u0301"),
        ("co\u00adoperate", "Co-operate"),
        ("\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3"),
        ("1994\uff0d05", "1994-05"),
    ],
)
def test_near(one: str, other: str) -> None:
    assert near_form(one.encode()) == near_form(other.encode()) != b""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.14", "2.72"),
        ("...", "!"),
        ("Hund", "Hände"),
        ("e\u0301", "e"),
        ("\u0e01\u0e34", "\u0e01\u0e35"),  # Thai vowels are marks
        ("gut \U0001f600", "gut \U0001f622"),
    ],
)
def test_not_near(one: str, other: str) -> None:
    assert near_form(one.encode()) != near_form(other.encode())


@given(TEXT)
def test_the_form_of_a_form_is_itself(text: bytes) -> None:
    assert near_form(near_form(text)) == near_form(text)
    assert bool(near_form(text)) == bool(text)


@given(TEXT, TEXT)
def test_keys(source: bytes, target: bytes) -> None:
    pair = Pair("k", None, source, target, "f", 1)
    assert source_key(pair, "near") == source_key(pair._replace(source=near_form(source)), "near")
    assert (source_key(pair, "exact") == source_key(pair, "near")) == (near_form(source) == source)
    for kind in ("exact", "near"):
        assert pair_key(pair, kind).startswith(source_key(pair, kind))
        assert pair_key(pair, kind) != pair_key(pair._replace(target=target + b"x"), kind)


@given(
    st.lists(st.sampled_from([b"Hund", b"hund.", b"hund"]), min_size=1, max_size=6), st.sampled_from(["train", "test"])
)
def test_the_first_is_kept_in_any_order(sources: list[bytes], split: str) -> None:
    pairs = [Pair(f"k{n}", split, source, b"dog", "f", n) for n, source in enumerate(sources)]
    for order in itertools.islice(itertools.permutations(pairs), 10):
        verdicts = dict(keep_first(order))
        assert list(map(verdicts.get, pairs)) == [
            None
            if split == "test" or not place
            else Reason.DUPLICATE
            if source == sources[0]
            else Reason.NEAR_DUPLICATE
            for place, source in enumerate(sources)
        ]
