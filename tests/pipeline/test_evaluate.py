"""The Evaluator's files and figures, recomputed from the records and the translations alone."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from pipeline.evaluate import evaluate
from pipeline.evaluation_set import read_evaluation_set
from pipeline.input_data import texts
from pipeline.metrics import count_words
from pipeline.model_files import build_model, build_translator, load_model, save_model, text_processor
from pipeline.preprocess import generate, transform
from pipeline.serving_config import ServingConfig
from pipeline.translate import translate_texts
from preprocessing.examples import shard_name, to_example
from preprocessing.records import write_records
from tests.pipeline.conftest import small_config
from tests.pipeline.test_metrics import distance

NOT_IN_THE_FILE = ("seconds", "greedy_seconds")

PHONES = ("AA", "B", "K", "D", "IY")


def rows_of(folder):
    return [line.split("\t") for line in (folder / "translations.tsv").read_text().splitlines()]


def untrained(config, folder):
    """Records, and a model that has learned nothing, of a configuration."""
    for name in ("examples", "records", "trainer", "evaluation"):
        (folder / name).mkdir()
    generate(config, folder / "examples", [])
    transform(config, folder / "examples", folder / "records", [])
    save_model(build_model(config, folder / "records"), folder / "trainer", folder / "records")
    return folder / "records", folder / "trainer", folder / "evaluation"


@pytest.fixture(scope="module")
def pronunciations(tmp_path_factory):
    """A dictionary in which every third word has two pronunciations, and its evaluation."""
    folder = tmp_path_factory.mktemp("dictionary")
    generator = np.random.default_rng(1)
    words = sorted({"".join(generator.choice(list("ABCDI"), generator.integers(1, 6))) for _ in range(300)})
    lines = []
    for number, word in enumerate(words):
        phones = [PHONES["ABCDI".index(letter)] for letter in word]
        lines.append((word, " ".join(phones)))
        if number % 3 == 0:
            lines.append((word, " ".join([*phones, "T"])))
    generator.shuffle(lines)  # pronunciations of a word need not stand together
    (folder / "words.tsv").write_text("".join(f"{word}\t{phones}\n" for word, phones in lines))
    config = small_config(
        folder,
        data={"source": None, "target": None, "tsv": str(folder / "words.tsv"), "test_fraction": 0.3},
        source={"unit": "character", "min_count": 1},
        target={"lowercase": False, "min_count": 1},
        evaluation={"metrics": ("word_error_rate", "phone_error_rate", "bleu")},
    )
    records, trainer, evaluation = untrained(config, folder)
    return lines, records, evaluation, evaluate(config, records, trainer, evaluation)


def test_all_pronunciations_of_a_word_are_in_one_split(pronunciations):
    lines, records, _, _ = pronunciations
    splits = {split: list(texts(records, split)) for split in ("train", "validation", "test")}
    assert sorted(pair for pairs in splits.values() for pair in pairs) == sorted((w.lower(), p) for w, p in lines)
    words = [{word for word, _ in pairs} for pairs in splits.values()]
    assert all(words) and sum(map(len, words)) == len(set.union(*words))


def test_several_references_are_one_item(pronunciations):
    _, records, evaluation, figures = pronunciations
    pairs = list(texts(records, "test"))
    rows = rows_of(evaluation)
    assert [(row[0], reference) for row in rows for reference in row[3:]] == sorted(
        pairs, key=lambda pair: [word for word, _ in pairs].index(pair[0])
    )
    assert figures["sentences"] == len(rows) == len({word for word, _ in pairs}) < len(pairs) == figures["references"]
    for label, column in (("", 1), ("greedy_", 2)):
        wrong = sum(row[column] not in row[3:] for row in rows)
        assert figures[label + "word_error_rate"] == wrong / len(rows)
        errors = length = 0
        for row in rows:
            nearest = min((distance(row[column].split(), ref.split()), len(ref.split())) for ref in row[3:])
            errors, length = errors + nearest[0], length + nearest[1]
        assert figures[label + "phone_error_rate"] == pytest.approx(errors / length)
    report = json.loads((evaluation / "evaluation.json").read_text())
    assert report["tracks"] == {"bleu": "CASED"} and report["signatures"]["bleu"].startswith("nrefs:var|case:mixed")


def test_perplexities_count_all_pairs(pronunciations):
    figures = pronunciations[-1]
    # A model that has learned nothing finds every token nearly equally likely.
    tokens = len(PHONES) + 1 + 4
    assert figures["perplexity"] == pytest.approx(tokens, rel=0.02)
    assert "perplexity_per_word" not in figures  # tokens are words
    assert {"perplexity", "free_running_perplexity"} <= set(figures)


def test_perplexity_per_word_of_characters(corpus, tmp_path):
    config = small_config(corpus, target={"unit": "character", "min_count": 1})
    records, trainer, evaluation = untrained(config, tmp_path)
    figures = evaluate(config, records, trainer, evaluation)
    targets = [target for _, target in texts(records, "test")]
    characters = sum(len(target) + 1 for target in targets)
    words = sum(len(target.split()) + 1 for target in targets)
    nll = characters * math.log(figures["perplexity"])
    assert figures["perplexity_per_word"] == pytest.approx(math.exp(nll / words), rel=1e-6)
    report = json.loads((evaluation / "evaluation.json").read_text())
    assert report["tracks"] == {"chrf": "LC"} and "tok:char" in report["signatures"]["bleu"]
    assert figures["character_error_rate"] > 0


def test_files_and_figures(config, transform_dir, trainer_dir, tmp_path):
    figures = evaluate(config, transform_dir, trainer_dir, tmp_path)
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert report["figures"] == {name: value for name, value in figures.items() if name not in NOT_IN_THE_FILE}
    assert set(figures) == {*report["figures"], *NOT_IN_THE_FILE} and report["beam_size"] == 3
    assert report["tracks"] == {"bleu": "LC", "chrf": "LC", "token_bleu": "TUT"}
    assert set(report["signatures"]) == {"bleu", "chrf", "token_bleu"}
    assert all(signature.startswith("nrefs:1|") for signature in report["signatures"].values())
    rows = rows_of(tmp_path)
    assert len(rows) == figures["sentences"] == figures["references"]
    assert [(source, reference) for source, _, _, reference in rows] == list(texts(transform_dir, "test"))
    translator = build_translator(config, load_model(trainer_dir, transform_dir), transform_dir)
    assert [row[1] for row in rows] == translate_texts(translator.translate, [row[0] for row in rows], 7)
    exact = sum(row[1] == row[3] for row in rows) / len(rows)
    assert figures["exact_match"] == pytest.approx(exact)
    assert figures["perplexity"] > 1 and figures["free_running_perplexity"] > 1


def test_figures_are_those_of_the_served_precision(config, transform_dir, trainer_dir, tmp_path):
    figures = []
    for precision in ("float32", "bfloat16"):
        (tmp_path / precision).mkdir()
        served = config.model_copy(update={"serving": ServingConfig(precision=precision)})
        figures.append(evaluate(served, transform_dir, trainer_dir, tmp_path / precision))
    exact, mixed = (found["perplexity"] for found in figures)
    assert exact != mixed and mixed == pytest.approx(exact, rel=0.02)


def test_words_of_references_are_the_tokens_of_the_records(config, transform_dir):
    # For a target of words `perplexity_per_word` is not given because it is `perplexity`.
    target = text_processor(config, transform_dir, "target")
    references = [reference for _, reference in texts(transform_dir, "test")]
    tokens = target.encode(tf.constant(references)).row_lengths().numpy() + 1
    np.testing.assert_array_equal(count_words(references), tokens)


def check_slices(found, rows, groups):
    """Slices against exact matches counted one by one; `groups`: by name the numbers of the rows."""
    assert {one["name"]: one["sentences"] for one in found} == {name: len(rows) for name, rows in groups.items()}
    for one in found:
        chosen = [rows[number] for number in groups[one["name"]]]
        assert one["exact_match"] == pytest.approx(sum(row[1] in row[3:] for row in chosen) / len(chosen))
        assert one["few"] == (len(chosen) < 5)


def test_slices_intervals_and_bytes(corpus, transform_dir, trainer_dir, tmp_path):
    config = small_config(corpus, evaluation={"length_edges": (3, 5), "min_slice": 5})
    files = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        figures = evaluate(config, transform_dir, trainer_dir, tmp_path / str(number))
        files.append({path.name: path.read_bytes() for path in (tmp_path / str(number)).iterdir()})
    assert files[0] == files[1]
    report, rows = json.loads(files[0]["evaluation.json"]), rows_of(tmp_path / "0")
    words = [len(row[0].replace(".", " .").split()) for row in rows]
    groups = {"1-3": [], "4-5": [], "6+": []}
    for number, count in enumerate(words):
        groups["1-3" if count <= 3 else "4-5" if count <= 5 else "6+"].append(number)
    assert set(report["slices"]) == {"length", "unknown_words"}  # no pair has a domain
    check_slices(report["slices"]["length"], rows, {name: numbers for name, numbers in groups.items() if numbers})
    # The perplexity of the whole set is made of those of its parts.
    tokens = [sum(len(rows[n][3].split()) + 1 for n in groups[one["name"]]) for one in report["slices"]["length"]]
    nll = [count * math.log(one["perplexity"]) for count, one in zip(tokens, report["slices"]["length"], strict=True)]
    assert math.exp(sum(nll) / sum(tokens)) == pytest.approx(figures["perplexity"], rel=1e-6)
    names = {"perplexity", "free_running_perplexity", "bleu", "chrf", "token_bleu", "exact_match"}
    one = report["slices"]["length"][0]
    assert set(report["intervals"]) == names == set(one) - {"name", "sentences", "few", "intervals"}
    assert set(one["intervals"]) == names
    for name, (low, high) in report["intervals"].items():
        assert low <= figures[name] <= high


@pytest.mark.parametrize("unit", ["word", "bpe"])
def test_unknown_words_lengths_and_domains_of_the_test_split(unit, tmp_path):
    splits = {
        "train": [("ein hund.", "a", ""), ("zwei katzen, ein hund", "b", "")],
        "test": [
            ("ein hund", "a", "pets"),
            ("drei hund.", "b", ""),
            ("katzen, ein", "c", "pets"),
            ("ein hund", "d", "other"),  # its item has the first pair's domain
        ],
    }
    known = {"ein": 4, "hund": 5, "zwei": 6, "katzen": 7, ".": 8, ",": 9}
    for split, pairs in splits.items():
        serialized = []
        for source, target, domain in pairs:
            ids = [known.get(word, 1 if unit == "word" else 10) for word in source.split()]
            example = tf.train.Example.FromString(to_example(source, target, ids, [4]))
            if domain:
                example.features.feature["domain"].bytes_list.value.append(domain.encode())
            serialized.append(example.SerializeToString())
        write_records(str(tmp_path / shard_name(split, 0, 1)), serialized)
    # The ids of words say it themselves: rare ones are unknown although they were seen.
    unknown = [False, True, True] if unit == "word" else [False, True, False]
    test = read_evaluation_set(small_config(tmp_path, source={"unit": unit}), tmp_path)
    assert [item.references for item in test.items] == [("a", "d"), ("b",), ("c",)]
    assert test.pairs.tolist() == [0, 1, 2, 0] and test.targets == ["a", "b", "c", "d"]
    assert test.lengths.tolist() == [2, 3, 3] and test.domains == ["pets", "", "pets"]
    assert test.unknown.tolist() == unknown
    assert test.of_items(np.array([1.0, 2, 3, 4])).tolist() == [5, 2, 3]


def test_translate_texts_of_nothing(config, transform_dir, trainer_dir):
    translator = build_translator(config, load_model(trainer_dir, transform_dir), transform_dir)
    assert translate_texts(translator.translate, [], 4) == []
    assert isinstance(translator.translate(tf.constant(["eins"]))["translation"].numpy()[0], bytes)
