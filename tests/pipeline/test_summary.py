"""What is printed where a command ends with a component."""

import pytest

from pipeline.components import build
from pipeline.config import load
from pipeline.summary import summary

FIGURES = {"perplexity": 1.5, "free_running_perplexity": "inf", "bleu": 20.1}
METRICS = {
    "ExampleGen": {"read": 2345, "repeated": 0, "train": 2200, "validation": 50, "test": 50, "dropped": 45},
    "Transform": {
        "source_vocabulary_size": 1004,
        "target_vocabulary_size": 903,
        "tokens_counted": 5123,
        "records_written_train": 400,
        "records_written_test": 12,
    },
    "StatisticsGen": {
        "train_source_tokens": 12.04,
        "test_source_unknown": 0.012,
        "train_target_tokens": 11.0,
        "test_target_unknown": 0.0,
    },
    "ExampleValidator": {"checks": 17, "too_few_cases": 2},
    "ShortlistGen": {"covered": 0.961, "shortlist_tokens": 472.4},
    "Trainer": {**FIGURES, "epoch": 4, "averaged": 0, "epochs": 10, "parameters": 1900000},
    "Ensembler": {"members": 3, "parameters": 5700000},
    "Evaluator": {**FIGURES, "sentences": 1000, "references": 1000, "greedy_bleu": 18.0, "seconds": 3.5},
    "ModelValidator": {"blessed": False, "reason": "BLEU 3.00 is not enough"},
    "Exporter": {"bytes": 11_520_000},
    "InfraValidator": {"passed": 2, "rungs": 3},
    "Pusher": {"version": 3},
}
"""Metrics of each component as it reports them."""

TOLD = {
    "ExampleGen": ["2,345 pairs read: 2,200 for training, 50 for validation, 50 for testing; 45 dropped"],
    "Transform": ["5,123 tokens counted; vocabularies of 1,004 and 903; 412 pairs encoded"],
    "StatisticsGen": [
        "source: 12.0 tokens a sentence, 1.20 % of the test tokens unknown",
        "target: 11.0 tokens a sentence, 0.00 % of the test tokens unknown",
    ],
    "ExampleValidator": ["17 checks of the corpus passed, 2 for want of cases"],
    "ShortlistGen": ["shortlists of 472 tokens hold 96.1 % of the validation split's target tokens"],
    "Trainer": [
        "validation split, epoch 4 of 10: perplexity 1.500, free-running perplexity inf, BLEU 20.10",
        "1,900,000 weights",
    ],
    "Ensembler": ["3 models joined", "5,700,000 weights"],
    "Evaluator": [
        "test split, 1,000 sources: perplexity 1.500, free-running perplexity inf, BLEU 20.10",
        "greedily: BLEU 18.00",
    ],
    "ModelValidator": ["not blessed: BLEU 3.00 is not enough"],
    "Exporter": ["a SavedModel of 11.5 MB"],
    "InfraValidator": ["it serves: 2 checks passed, 1 not tried"],
    "Pusher": ["published as version 3"],
}


@pytest.mark.parametrize("component", METRICS)
def test_what_is_told(component):
    assert summary(component, METRICS[component]) == TOLD[component]


def test_special_cases():
    assert summary("ExampleGen", {**METRICS["ExampleGen"], "read": 1, "repeated": 3})[0].startswith("1 pair read and 3")
    averaged = summary("Trainer", {**METRICS["Trainer"], "averaged": 5})
    assert averaged[0].startswith("validation split, mean of the last 5 epochs of 10: perplexity 1.500, ")
    assert summary("InfraValidator", {"passed": 3, "rungs": 3}) == ["it serves: 3 checks passed"]
    assert summary("ShortlistGen", {}) == []


def test_every_component_tells_something():
    overrides = ["serving.push_to=x", "search.shortlist=5", "ensemble.seeds=[1, 2]"]
    assert {component.name for component in build(load("dates", overrides))} == set(TOLD)
