"""Scores against hand-made cases, brute force and sacrebleu's own bookkeeping."""

import math
from functools import cache
from itertools import permutations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from pipeline.config_section import Metric
from pipeline.figures import FIGURES, shown
from pipeline.metrics import count_words, edit_errors, group_by_source, score
from pipeline.text_config import TextSection

WORDS = TextSection()
CHARACTERS = TextSection(unit="character")
PHONES = TextSection(lowercase=False)

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e."]), min_size=1, max_size=8).map(" ".join)
PHONE_TEXTS = st.lists(st.sampled_from(["AA", "B", "CH"]), min_size=1, max_size=5).map(" ".join)


def values(names, translations, references, target=WORDS):
    return {name: found.value for name, found in score(names, translations, references, target).items()}


def distance(one, other):
    """The edit distance by its recursive definition."""

    @cache
    def of(i, j):
        if not i or not j:
            return i + j
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (one[i - 1] != other[j - 1]))

    return of(len(one), len(other))


def test_sources_are_grouped_in_their_order():
    pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("b", "1"), ("c", "")]
    assert group_by_source(pairs) == [("b", ("1", "3")), ("a", ("2",)), ("c", ("",))]
    assert group_by_source([]) == []


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("123"))))
def test_grouping_loses_and_invents_nothing(pairs):
    items = group_by_source(pairs)
    assert {(source, reference) for source, references in items for reference in references} == set(pairs)
    assert [source for source, _ in items] == list(dict.fromkeys(source for source, _ in pairs))
    assert sum(len(references) for _, references in items) == len(set(pairs))


def test_every_metric_has_a_figure_and_a_score():
    names = get_args(Metric)
    assert set(names) <= set(FIGURES)
    assert set(values(names, ["A b."], [["A b.", "c"]])) == set(names)


def test_a_perfect_translation_equals_any_of_its_references():
    names = get_args(Metric)
    references = [["1 2 3 4 5"], ["x", "9 8 7 6 5"], ["a b c d e", "y", "z"]]
    perfect = values(names, ["1 2 3 4 5", "9 8 7 6 5", "a b c d e"], references)
    assert perfect == {
        name: pytest.approx({"bleu": 100, "chrf": 100, "token_bleu": 100, "exact_match": 1}.get(name, 0))
        for name in names
    }


def test_one_wrong_word_of_four():
    found = values(
        ["exact_match", "word_error_rate", "phone_error_rate"],
        ["T AH", "T AH D", "AA", "B IY"],
        [["T AH", "T OW"], ["D", "T OW D", "T IY D Z"], ["EH", "AA"], ["B IY"]],
        PHONES,
    )
    # The nearest reference of the wrong one is "T OW D", of three phones; those of the others have 2, 1 and 2.
    assert found == {"exact_match": 0.75, "word_error_rate": 0.25, "phone_error_rate": pytest.approx(1 / 8)}


def test_case_counts_where_it_is_kept():
    assert values(["word_error_rate", "phone_error_rate"], ["aa B"], [["AA B"]], PHONES) == {
        "word_error_rate": 1,
        "phone_error_rate": 0.5,
    }


def test_a_missing_word_by_hand():
    found = values(["bleu", "exact_match", "character_error_rate"], ["1 2 3 4 5", ""], [["1 2 3 4 5"], ["9 8 7 6 5"]])
    # Every n-gram of the translations is right; half of the words are missing: exp(1 - 10 / 5).
    assert found["bleu"] == pytest.approx(100 / math.e)
    assert (found["exact_match"], found["character_error_rate"]) == (0.5, 0.5)


ITEMS = st.lists(st.tuples(PHONE_TEXTS, st.lists(PHONE_TEXTS, min_size=1, max_size=3)), min_size=1, max_size=5)


@settings(deadline=None)
@given(ITEMS)
def test_error_rates_against_brute_force(items):
    translations, references = [list(column) for column in zip(*items, strict=True)]
    for name, split in (("phone_error_rate", str.split), ("character_error_rate", list)):
        errors = length = 0
        for text, alternatives in items:
            ranked = sorted((distance(split(text), split(other)), len(split(other))) for other in alternatives)
            errors, length = errors + ranked[0][0], length + ranked[0][1]
        assert values([name], translations, references)[name] == pytest.approx(errors / length)
    wrong = sum(not any(text == other for other in alternatives) for text, alternatives in items)
    found = values(["word_error_rate", "exact_match"], translations, references)
    assert found["word_error_rate"] == wrong / len(items) == pytest.approx(1 - found["exact_match"])


@settings(deadline=None, max_examples=30)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), st.lists(st.tuples(TEXTS, TEXTS), max_size=3))
def test_the_order_of_references_does_not_matter(text, alternatives, others):
    names = [name for name in get_args(Metric) if name != "chrf"]  # see its docstring
    translations, rest = [text, *(one for one, _ in others)], [[other] for _, other in others]
    expected = values(names, translations, [alternatives, *rest])
    for order in permutations(alternatives):
        assert values(names, translations, [list(order), *rest]) == pytest.approx(expected)
    more = values(names, translations, [[*alternatives, text], *rest])  # one more that is right
    assert more["word_error_rate"] <= expected["word_error_rate"]


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_single_references_are_scored_as_sacrebleu_scores_them(pairs):
    translations, gold = [list(column) for column in zip(*pairs, strict=True)]
    found = score(["bleu", "chrf"], translations, [[reference] for reference in gold], WORDS)
    for name, measure in (("bleu", BLEU(lowercase=True)), ("chrf", CHRF(lowercase=True))):
        assert found[name].value == measure.corpus_score(translations, [gold]).score
        assert found[name].signature == str(measure.get_signature())


def test_several_references_are_scored_as_sacrebleu_scores_them():
    translations = ["the cat sat on the mat", "a dog", "one two three four"]
    references = [["a cat sat on the mat", "the cat is on the mat"], ["the dog runs"], ["one two", "two three four"]]
    found = score(["bleu", "chrf"], translations, references, WORDS)
    streams = [["a cat sat on the mat", "the dog runs", "one two"], ["the cat is on the mat", None, "two three four"]]
    for name, measure in (("bleu", BLEU(lowercase=True)), ("chrf", CHRF(lowercase=True))):
        assert found[name].value == measure.corpus_score(translations, streams).score
        assert "nrefs:var" in found[name].signature == str(measure.get_signature())
    alike = [alternatives * (1 if len(alternatives) == 2 else 2) for alternatives in references]
    again = score(["bleu"], translations, alike, WORDS)["bleu"]  # a reference that is repeated changes nothing
    assert again.value == pytest.approx(found["bleu"].value) and "nrefs:2" in again.signature


def test_token_bleu_sees_our_tokens_without_joiners_and_is_not_smoothed():
    found = score(["token_bleu", "bleu"], ["a b-c, d."], [["x", "a b - c , d ."]], WORDS)
    assert found["token_bleu"].value == pytest.approx(100) and found["bleu"].value < 100
    # No four words in a row are right: unsmoothed BLEU is 0, sacrebleu's own is not.
    found = score(["token_bleu", "bleu"], ["a b c x d"], [["a b c y d"]], WORDS)
    assert found["token_bleu"].value == 0 < found["bleu"].value
    assert "tok:none|smooth:none" in found["token_bleu"].signature


@pytest.mark.parametrize(
    ("target", "tracks", "said"),
    [
        (WORDS, {"bleu": "LC", "chrf": "LC", "token_bleu": "TUT"}, "case:lc|eff:no|tok:13a|smooth:exp"),
        (PHONES, {"bleu": "CASED", "chrf": "CASED", "token_bleu": None}, "case:mixed|eff:no|tok:13a|smooth:exp"),
        (CHARACTERS, {"bleu": None, "chrf": "LC", "token_bleu": "TUT"}, "case:lc|eff:no|tok:char|smooth:exp"),
    ],
)
def test_tracks_and_signatures(target, tracks, said):
    found = score(["bleu", "chrf", "token_bleu", "exact_match"], ["A b c d"], [["A b c d"]], target)
    assert {name: item.track for name, item in found.items()} == {**tracks, "exact_match": None}
    assert said in found["bleu"].signature and found["exact_match"].signature is None
    cased = score(["bleu"], ["a b c d"], [["A B C D"]], target)["bleu"].value
    assert (cased < 1) == (not target.lowercase)


def test_an_edit_error_rate_may_exceed_one():
    assert edit_errors(["abcd"], [["xy"]]).tolist() == [[4, 2]]
    assert values(["character_error_rate"], ["abcd"], [["xy"]]) == {"character_error_rate": 2.0}


def test_words_and_ends_are_counted():
    # a, b, - and c; d and a full stop.
    assert count_words(["a b-c", "", "d."]).tolist() == [5, 1, 3]


@settings(deadline=None)
@given(ITEMS, st.data())
def test_a_selection_is_scored_as_if_it_were_all(items, data):
    translations, references = [list(column) for column in zip(*items, strict=True)]
    numbers = st.lists(st.integers(0, len(items) - 1), min_size=1, max_size=6)  # as of a resample, with repetitions
    chosen = data.draw(numbers)
    names = ["bleu", "chrf", "token_bleu", "exact_match", "word_error_rate", "phone_error_rate", "character_error_rate"]
    found = score(names, translations, references, PHONES)
    alone = values(names, [translations[n] for n in chosen], [references[n] for n in chosen], PHONES)
    assert {name: one.part(np.array(chosen)).value for name, one in found.items()} == pytest.approx(alone)


def test_a_missing_translation_is_refused():
    with pytest.raises(ValueError, match="translations: expected one for each of 2 items, got 1"):
        score(["bleu"], ["a"], [["a"], ["b"]], WORDS)


def test_shown():
    assert shown("bleu", 19.344) == "19.34" and shown("perplexity", 1.0023) == "1.002"
    assert shown("word_error_rate", 0.2205) == "22.05 %" and shown("phone_error_rate", 1.5) == "150.00 %"
