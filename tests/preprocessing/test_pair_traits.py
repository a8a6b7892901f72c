"""What one pair tells, against examples a person can judge and plain definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.pair_traits import (
    length_bucket,
    looks_untranslated,
    numbers_differ,
    numbers_of,
    ratio_bucket,
    ratio_of,
)
from preprocessing.scripts import count_scripts, main_script


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("Hot Dogs", "hot dogs", True),
        ("STRASSE", "straße", True),
        ("ein sehr langer satz, der stehen blieb", "ein sehr langer satz, der stehen blieb.", True),
        ("zwei hunde", "two dogs", False),
        ("hund", "hand", False),
        ("1994-05-05", "1994-05-05", False),  # no letters: nothing to translate
        ("", "", False),
    ],
)
def test_untranslated(source, target, expected):
    assert looks_untranslated(source, target) is expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("am 5. mai um 07:30", "at 7:30 on may 5", False),
        ("raum 12", "room 13", True),
        ("1.000 euro", "1000 euros", False),
        ("\u0661\u0662", "12", False),
        ("zwei 2", "two", None),
        ("zwei", "2", None),
        ("nummer 0", "number 00", False),
    ],
)
def test_numbers(source, target, expected):
    assert numbers_differ(source, target) is expected
    assert numbers_differ(target, source) is expected


@given(st.text(st.characters(categories=["Nd"]), min_size=1))
def test_digits_of_any_script_are_read_as_python_reads_them(digits):
    (number,) = numbers_of(digits)
    assert number.isascii() and int(number) == int(digits)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_ratio_lies_within_a_sixteenth_of_an_octave_of_its_bucket(source, target):
    bucket = ratio_bucket(source, target)
    if abs(bucket) < 48:
        assert 2 ** (-1 / 16) * 0.999999 <= target / source / ratio_of(bucket) <= 2 ** (1 / 16) * 1.000001
    assert ratio_bucket(source, source) == 0
    assert abs(bucket + ratio_bucket(target, source)) <= 1


@given(st.integers(0, 10**9))
def test_length_buckets_partition_the_lengths(length):
    low = length_bucket(length)
    assert low <= length and length_bucket(low) == low
    assert length < 16 or length < low * 1.25
    assert length_bucket(length + 1) >= low


def test_names_of_ratio_buckets_are_distinct():
    assert len({f"{ratio_of(bucket):.3g}" for bucket in range(-48, 49)}) == 97


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Ein Hund.", "Latin"),
        ("кот cat кот", "Cyrillic"),
        ("ab яб", "Cyrillic"),  # two of each: the first name
        ("東京タワーへ行く", "Han"),
        ("ひらがな", "Han"),
        ("한국어", "Hangul"),
        ("12:30 !", None),
        ("", None),
    ],
)
def test_scripts(text, script):
    assert main_script({character: text.count(character) for character in text}) == script


def test_only_letters_have_a_script():
    assert count_scripts({"a": 2, "ä": 1, "я": 3, "1": 9, " ": 9, "か": 1, "ー": 5}) == {
        "Latin": 3,
        "Cyrillic": 3,
        "Hiragana": 1,
    }
