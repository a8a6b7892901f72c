"""A shortlist in the translator: of everything it changes nothing, and else nothing outside of it is written."""

import numpy as np
import pytest
import tensorflow as tf

from models.ensemble import EnsembleNetwork
from models.shortlist import ShortlistTable
from preprocessing.special_tokens import SPECIAL_TOKENS
from tests.serving.conftest import ATTENTION, CHARACTERS, MEMBERS, WORDS, make_translator
from tests.serving.test_signatures import every

SPECIAL = list(range(len(SPECIAL_TOKENS)))
EVERYTHING = ShortlistTable(np.zeros([len(CHARACTERS), 1], np.int32), np.arange(len(WORDS), dtype=np.int32))
TEXTS = ["ein hund", "x", "", "Schön! 😀", "abc abc abc"]


@pytest.mark.parametrize("network", [ATTENTION, EnsembleNetwork(members=MEMBERS[2:])], ids=["attention", "ensemble"])
def test_a_shortlist_of_everything_changes_nothing(network):
    options = {"no_repeat_ngram": 2, "banned_words": ("hund", "der schön"), "min_length": 2}
    plain, short = (make_translator(network, shortlist=table, **options) for table in (None, EVERYTHING))
    for signature, inputs in (("n_best", [TEXTS]), ("complete", [TEXTS, ["hund", "", "ein", "漢字 😀", "der"]])):
        expected, found = (
            getattr(one, signature)(*(tf.constant(values) for values in inputs)) for one in (plain, short)
        )
        for name, values in expected.items():
            if values.dtype == tf.string:
                assert (values == found[name]).numpy().all()
            else:
                np.testing.assert_allclose(values, found[name], atol=1e-4)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (ShortlistTable(EVERYTHING.candidates[1:], EVERYTHING.always), "must be of 5[0-9] source tokens, got 5"),
        (ShortlistTable(EVERYTHING.candidates + len(WORDS), EVERYTHING.always), "must hold ids below"),
        (
            ShortlistTable(EVERYTHING.candidates, EVERYTHING.always[1:]),
            r"must always hold the special tokens, got none of the ids \[0\]",
        ),
    ],
)
def test_a_shortlist_of_another_vocabulary_is_refused(table, message):
    with pytest.raises(ValueError, match=f"shortlist {message}"):
        make_translator(shortlist=table)


@pytest.mark.parametrize("network", [None, MEMBERS[3]], ids=["recurrent", "transformer"])
def test_only_what_the_source_brings_is_written(network):
    """Each letter brings one word, so that what may be written is known from the text; whatever the batch holds."""
    words = len(WORDS) - len(SPECIAL)
    bring = np.array([[len(SPECIAL) + row % words] for row in range(len(CHARACTERS))], np.int32)
    bring[: len(SPECIAL)] = 0
    translator = make_translator(network, shortlist=ShortlistTable(bring, np.array(SPECIAL, np.int32)))
    answer = every(translator, "n_best", *[(text,) for text in TEXTS])
    written = 0
    for row, text in enumerate(TEXTS):
        ids = translator.source.encode(tf.constant([text])).to_list()[0]
        allowed = {WORDS[bring[one][0]].strip("\uffed") for one in ids}
        for translation in answer["translations"][row].numpy():
            rest = translation.decode()
            for word in sorted(allowed, key=len, reverse=True):
                rest = rest.replace(word, " ")
            assert not rest.strip(), (text, translation.decode())
            written += len(translation)
    assert written > 20
    beginnings = [(text, "der 漢字") for text in TEXTS]
    for text, translation in zip(TEXTS, every(translator, "complete", *beginnings)["translation"], strict=True):
        assert not text or translation.numpy().decode().startswith("der 漢字")
