import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config import load
from pipeline.report import final_report

SIGNATURE = "nrefs:1|case:lc|eff:no|tok:13a|smooth:exp|version:2.6.0"

FIGURES = {
    "sentences": 1200,
    "references": 1300,
    "perplexity": 12.0412,
    "free_running_perplexity": 38.45,
    "perplexity_per_word": 40.5,
    "bleu": 19.344,
    "greedy_bleu": 18.1,
    "word_error_rate": 0.2205,
    "greedy_word_error_rate": 0.23,
    "seconds": 3.0,
    "greedy_seconds": 1.0,
}


@pytest.fixture
def artifacts(tmp_path):
    found = {name: SimpleNamespace(path=tmp_path / name) for name in ("Trainer", "Evaluator", "Exporter")}
    found["ModelValidator"] = SimpleNamespace(metrics={"blessed": True, "reason": "exact match 71.00 % is the first"})
    (tmp_path / "Evaluator").mkdir()
    for version in ("1", "10", "9"):
        (tmp_path / "Exporter" / "dates" / version).mkdir(parents=True)
    report = {
        "figures": FIGURES,
        "tracks": {"bleu": "LC"},
        "signatures": {"bleu": SIGNATURE},
        "beam_size": 5,
        "intervals": {"exact_match": [0.685, 0.7321], "bleu": [18.5, 20.1]},
        "slices": {
            "length": [
                {"name": "1-8", "sentences": 1150, "few": False, "exact_match": 0.8, "bleu": 20.5},
                {"name": "9-12", "sentences": 2000, "few": False, "exact_match": 0.605, "bleu": 18.4},
                {"name": "13+", "sentences": 7, "few": True, "exact_match": 0.1, "bleu": 3.5},
            ],
            "unknown_words": [{"name": "none", "sentences": 1200, "few": False, "exact_match": 0.71, "bleu": 19.3}],
        },
    }
    (tmp_path / "Evaluator" / "evaluation.json").write_text(json.dumps(report))
    (tmp_path / "Evaluator" / "translations.tsv").write_text("a\tEY\tAH\tAH\tEY\nbe\tB IY\tB\tB IY\n")
    return found


def test_figures_with_track_and_signature(artifacts):
    text = final_report(load("dates"), artifacts, ["dates"], Path("report.html"))
    assert text.splitlines()[:9] == [
        "dates: 1,200 held-out sources, 1,300 references; beam 5, in brackets greedy",
        "",
        "  perplexity                 12.041    (fed the reference)",
        "  free-running perplexity    38.450    (fed its own words)",
        "  perplexity per word        40.500    (fed the reference)",
        f"  BLEU                        19.34    [18.10]    LC     {SIGNATURE}",
        "  word error rate             22.05 %  [23.00 %]",
        "",
        "  LC: lowercased plain text",
    ]
    assert "dates/10" in text and "\nNext:\n" in text


def test_interval_slices_and_verdict(artifacts):
    text = final_report(
        load("dates", ["evaluation.bless_metric=exact_match"]), artifacts, ["dates"], Path("report.html")
    )
    assert (
        "exact match: 68.50 % to 73.21 % (95 % interval)\n"
        "  by length of the source  1-8: 80.00 % (1,150)  9-12: 60.50 % (2,000)\n\n"
        "blessed: exact match 71.00 % is the first\n\n"
    ) in text
    assert "13+" not in text and "unknown words" not in text  # too few, and all alike


def test_samples_show_all_references(artifacts):
    text = final_report(load("dates", ["evaluation.samples=1"]), artifacts, ["dates"], Path("report.html"))
    assert "  source       a\n  translation  EY\n  reference    AH\n  reference    EY\n\nSavedModel" in text
    assert "source       be" not in text


def test_nothing_is_said_about_tracks_where_there_is_none(artifacts):
    path = artifacts["Evaluator"].path / "evaluation.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps({**report, "tracks": {}, "figures": {**FIGURES, "references": 1200}}))
    text = final_report(load("dates"), artifacts, ["dates"], Path("report.html"))
    assert text.startswith("dates: 1,200 held-out sources; beam 5") and "LC" not in text
