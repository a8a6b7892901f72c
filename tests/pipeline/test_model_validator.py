"""The ModelValidator's files and figures, recomputed from the translations."""

import numpy as np
import pytest

from pipeline.metrics import score
from pipeline.model_validator import bless_model
from pipeline.significance import compare
from tests.pipeline.conftest import small_config


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The translations of a good and of a bad model, of sources of which some have two references."""
    folder = tmp_path_factory.mktemp("evaluations")
    generator = np.random.default_rng(3)
    texts = [" ".join(generator.choice(list("abcdefg"), 6)) for _ in range(60)]
    for name, errors in (("good", 10), ("bad", 30)):
        lines = []
        for number, text in enumerate(texts):
            translation = text if number >= errors else text[:-1] + "x"
            references = [text] if number % 3 else ["other words", text]
            lines.append("\t".join([f"source {number}", translation, "greedy", *references]))
        (folder / name).mkdir()
        (folder / name / "translations.tsv").write_text("\n".join(lines) + "\n")
    return folder


def blessed(folders, candidate, baseline, output, **evaluation):
    output.mkdir()
    config = small_config(folders, evaluation={"bless_metric": "exact_match", "resamples": 200, **evaluation})
    found = bless_model(config, folders / candidate, None if baseline is None else folders / baseline, output)
    return found, (output / "blessing.json").read_text()


def test_a_comparison_is_the_paired_test_of_both_translations(folders, tmp_path):
    found, _ = blessed(folders, "good", "bad", tmp_path / "a")
    assert (found["metric"], found["value"], found["baseline_value"]) == ("exact_match", 50 / 60, 30 / 60)
    assert found["baseline"] == "bad" and found["blessed"] and "better than" in found["reason"]
    config = small_config(folders)
    scores = []
    for name in ("good", "bad"):
        rows = [line.split("\t") for line in (folders / name / "translations.tsv").read_text().splitlines()]
        scored = score(["exact_match"], [row[1] for row in rows], [row[3:] for row in rows], config.target)
        scores.append(scored["exact_match"])
    assert (found["difference"], found["interval"], found["p"]) == compare(*scores, 200)


def test_the_comparison_is_on_what_both_were_tested_on(folders, tmp_path):
    """The corpus has grown: the candidate has other test sentences, all wrong, beside 55 of the old ones."""
    lines = (folders / "good" / "translations.tsv").read_text().splitlines()[5:]
    new = [f"new {number}\tx\tx\ty" for number in range(10)]
    (folders / "grown").mkdir()
    (folders / "grown" / "translations.tsv").write_text("\n".join([*new, *lines]) + "\n")
    found, _ = blessed(folders, "grown", "good", tmp_path / "a", min_slice=55)
    assert found["blessed"] and found["difference"] == 0 and found["compared_on"] == 55
    assert found["value"] == 50 / 65 and found["candidate_value"] == found["baseline_value"] == 50 / 55
    assert "on the 55 of 65 test sentences that both have" in found["reason"]
    for minimum, verdict in ((None, False), (76.0, True), (77.0, False)):
        output = tmp_path / str(minimum)
        found, _ = blessed(folders, "grown", "good", output, min_slice=56, bless_minimum=minimum)
        assert found["blessed"] is verdict and "baseline" not in found
        assert minimum == 77.0 or "shares 55 test sentences" in found["reason"]


def test_a_first_model_that_can_do_nothing_is_blessed_with_a_warning(folders, tmp_path, caplog):
    assert blessed(folders, "good", None, tmp_path / "a")[0]["blessed"] and not caplog.messages
    (folders / "nil").mkdir()
    lines = (folders / "good" / "translations.tsv").read_text().replace("\t", "\tno ").splitlines()
    (folders / "nil" / "translations.tsv").write_text("\n".join(lines[:10]) + "\n")
    found, _ = blessed(folders, "nil", None, tmp_path / "b")
    assert found["blessed"] and found["value"] == 0.0
    (message,) = caplog.messages
    assert "blessed with exact match 0.00 %" in message and "evaluation.bless_minimum" in message


def test_the_file_says_only_whether(folders, tmp_path):
    alone, first = blessed(folders, "good", None, tmp_path / "a")
    found, again = blessed(folders, "good", "bad", tmp_path / "b")
    assert first == again == '{"blessed": true}\n'  # next to whatever baseline: nothing is published anew
    assert alone["reason"] != found["reason"] and "baseline" not in alone
    refused, other = blessed(folders, "bad", "good", tmp_path / "c")
    assert other == '{"blessed": false}\n' and not refused["blessed"]
    allowed, other = blessed(folders, "bad", "good", tmp_path / "d", bless_margin=34.0)
    assert other == first and "within evaluation.bless_margin = 34" in allowed["reason"]
