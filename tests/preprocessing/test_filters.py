import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.filters import FilterOptions, Reason, empty_reason, encoding_reason, length_reason


@given(st.text(), st.text())
def test_any_text_without_nul_is_readable(source: str, target: str) -> None:
    sides = (source.replace("\0", "").encode("utf-8", "ignore"), target.replace("\0", "").encode("utf-8", "ignore"))
    assert encoding_reason(*sides) is None


@pytest.mark.parametrize("broken", [b"\xff", b"\xe2\x82", b"\xc0\x80", b"\xed\xa0\x80", "ä".encode("latin-1")])
def test_invalid_utf8_on_either_side(broken: bytes) -> None:
    assert encoding_reason(broken, b"a") == encoding_reason(b"a", broken) == Reason.INVALID_UTF8


def test_nul_and_empty() -> None:
    assert encoding_reason(b"a\0", b"b") == encoding_reason(b"a", b"\0b") == Reason.NUL_BYTE
    assert empty_reason(b"", b"") == empty_reason(b"", b"b") == Reason.EMPTY_SOURCE
    assert empty_reason(b"a", b"") == Reason.EMPTY_TARGET
    assert empty_reason(b"a", b"b") is None


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((5, 5), None),
        ((6, 5), Reason.SOURCE_TOO_LONG),
        ((5, 9), Reason.TARGET_TOO_LONG),
        ((4, 8), None),
        ((3, 7), Reason.LENGTH_RATIO),
        ((5, 2), Reason.LENGTH_RATIO),
    ],
)
def test_lengths(lengths: tuple[int, int], expected: Reason | None) -> None:
    options = FilterOptions(max_source_length=5, max_target_length=8, max_length_ratio=2.0)
    assert options.needs_lengths
    assert length_reason(*lengths, options) == expected


def test_no_limits() -> None:
    options = FilterOptions(max_source_length=None, max_target_length=None)
    assert not options.needs_lengths
    assert length_reason(10**6, 1, options) is None


@pytest.mark.parametrize("name", ["max_source_length", "max_target_length", "max_length_ratio"])
def test_limits_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        FilterOptions(**{name: 0})
