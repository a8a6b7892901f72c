import pytest

from pipeline.figures import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0.04, "0 s"),
        (2.34, "2.3 s"),
        (9.96, "10 s"),
        (60, "60 s"),
        (99.4, "99 s"),
        (99.6, "1.7 min"),
        (5_960, "99 min"),
        (7_200, "2 h"),
        (170_000, "47 h"),
        (172_800, "2 d"),
        (86_400 * 400, "400 d"),
    ],
)
def test_times_as_people_say_them(seconds, said):
    assert duration(seconds) == said
