from preprocessing.wording import counted


def test_one_is_no_plural():
    assert [counted(number, "pair") for number in (0, 1, 2, 12345)] == ["0 pairs", "1 pair", "2 pairs", "12,345 pairs"]
    assert [counted(number, "corpus", "corpora") for number in (1, 2)] == ["1 corpus", "2 corpora"]
