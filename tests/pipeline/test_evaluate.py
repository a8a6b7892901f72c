"""The Evaluator's scores against hand-made cases, and its files."""

import json

import pytest
import tensorflow as tf

from pipeline.evaluate import evaluate, score
from pipeline.model_files import build_translator, load_model, text_processor
from pipeline.translate import translate_texts
from tests.pipeline.conftest import small_config


@pytest.fixture(scope="module")
def target(config, transform_dir):
    return text_processor(config, transform_dir, "target")


def test_scores_of_hand_made_cases(config, target):
    references = ["1 2 3 4 5", "9 8 7 6 5"]
    perfect, signatures = score(references, references, config, target)
    assert perfect == {
        "bleu": pytest.approx(100),
        "chrf": pytest.approx(100),
        "token_bleu": pytest.approx(100),
        "exact_match": 1,
    }
    assert (
        "case:lc" in signatures["bleu"] and "tok:13a" in signatures["bleu"] and "tok:none" in signatures["token_bleu"]
    )
    half, _ = score(["1 2 3 4 5", ""], references, config, target)
    assert half["exact_match"] == 0.5
    # Every n-gram of the hypotheses is right; half of the words are missing: exp(1 - 10 / 5).
    assert half["bleu"] == pytest.approx(100 * 2.718281828**-1, rel=1e-4)


def test_token_bleu_sees_our_tokens_and_no_joiners(config, target):
    figures, _ = score(["a b-c, d."], ["a b - c , d ."], config, target)
    assert figures["token_bleu"] == pytest.approx(100)
    assert figures["bleu"] < 100


def test_characters_are_scored_by_character(corpus, target):
    config = small_config(corpus, target={"unit": "character"})
    figures, signatures = score(["1994-05-05"], ["1994-05-05"], config, target)
    assert figures["bleu"] == pytest.approx(100) and "tok:char" in signatures["bleu"]
    assert "token_bleu" not in figures


def test_subwords_are_scored_as_plain_text(corpus, target):
    config = small_config(corpus, target={"unit": "unigram"})
    figures, signatures = score(["1 2 3 4 5."], ["1 2 3 4 5."], config, target)
    assert figures["bleu"] == pytest.approx(100) and "tok:13a" in signatures["bleu"]
    assert "token_bleu" not in figures


def test_files_and_figures(config, transform_dir, trainer_dir, tmp_path):
    figures = evaluate(config, transform_dir, trainer_dir, tmp_path)
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert report["figures"] == figures and report["beam_size"] == 3
    rows = [line.split("\t") for line in (tmp_path / "translations.tsv").read_text().splitlines()]
    assert len(rows) == figures["sentences"]
    translator = build_translator(config, load_model(trainer_dir, transform_dir), transform_dir)
    assert [row[2] for row in rows] == translate_texts(translator.translate, [row[0] for row in rows], 7)
    exact = sum(row[2] == row[1] for row in rows) / len(rows)
    assert figures["exact_match"] == pytest.approx(exact)
    assert figures["perplexity"] > 1 and figures["free_running_perplexity"] > 1


def test_translate_texts_of_nothing(config, transform_dir, trainer_dir):
    translator = build_translator(config, load_model(trainer_dir, transform_dir), transform_dir)
    assert translate_texts(translator.translate, [], 4) == []
    assert isinstance(translator.translate(tf.constant(["eins"]))["translation"].numpy()[0], bytes)
