"""A run as its components would have left it, with a corpus that wants to break the page."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline import artifacts
from pipeline.config import Config
from pipeline.html_report.run import Run
from pipeline.plan import State

HOSTILE = "<script>alert('x')</script>\"><img src=http://example.invalid/x onerror=alert(1)>&lt;{{ 7 * 7 }}\u202e\x07"
"""Markup, an escape that is none, a template, a change of direction, a bell."""

LONG = "Donaudampfschifffahrtsgesellschaftskapitän" * 6

EVALUATION = {
    "figures": {"sentences": 4, "references": 5, "perplexity": 4.5, "bleu": 40.91, "greedy_bleu": 39.75, "chrf": 59.6},
    "intervals": {"bleu": [39.2, 42.5]},
    "slices": {
        "length": [
            {
                "name": "1-8",
                "sentences": 3,
                "few": False,
                "perplexity": 4.2,
                "bleu": 45.25,
                "intervals": {"perplexity": [4.0, 4.4], "bleu": [43.0, 47.5]},
            },
            {"name": "9+", "sentences": 1, "few": True, "perplexity": 5.0, "bleu": 30.5, "intervals": {}},
        ],
        "domain": [{"name": HOSTILE, "sentences": 4, "few": False, "perplexity": 4.5, "bleu": 40.91, "intervals": {}}],
    },
    "tracks": {"bleu": "LC"},
    "signatures": {"bleu": "nrefs:1|case:lc"},
    "beam_size": 5,
}
TRANSLATIONS = [
    ("zwei hunde", "two dogs", "two dogs", "two dogs"),
    (HOSTILE.replace("\x07", ""), "a cat on a mat", "a cat", "a cat on the mat", "the cat on the mat"),
    ("eine sehr lange brücke", "a very long bridge", "", "a very long bridge"),
    (LONG, "xyzzy", "xyzzy", "a captain"),
]
ATTENTION = [
    {
        "translation": HOSTILE,
        "source_tokens": ["zwei", HOSTILE, *["wort"] * 40],
        "target_tokens": ["two", LONG],
        "weights": [[0.9, 0.1, *[0.0] * 40], [0.2, 0.8, *[0.0] * 40]],
    }
]


def side(lengths: dict[int, int], **more) -> dict:
    pairs = sum(lengths.values())
    tokens = sum(length * count for length, count in lengths.items())
    return {
        "tokens": tokens,
        "unknown_tokens": 3,
        "unknown_rate": 3 / tokens,
        "length": {"mean": tokens / pairs, "histogram": {str(length): count for length, count in lengths.items()}},
        **more,
    }


def example(text: str) -> dict:
    return {"file": f"{text}.de", "line": 713, "source": text, "target": LONG}


def statistics() -> dict:
    finding = {"count": 2, "of": 100, "share": 0.02, "examples": [example(HOSTILE)]}
    found = {"coverage": {"1": 0.1, "2": 0.2, "10": 0.97}, "scripts": {"Latin": 0.99, "Greek": 0.01}}
    train = {
        "pairs": 100,
        "source": side({3: 60, 5: 40}, **found),
        "target": side({2: 50, 4: 50}, **found),
        "length_ratio": {"histogram": {"0.917": 70, "1.5": 30}},
        "suspicious": {"untranslated": finding, "numbers_differ": {**finding, "count": 0}},
        "duplicates": {"pairs": finding},
    }
    test = {"pairs": 5, "source": side({4: 5}), "target": side({4: 5})}
    return {"splits": {"test": test, "train": train}, "vocabulary_sizes": {"source": 30, "target": 20}}


def history(epochs: int, start: float) -> dict[str, list[float]]:
    falling = [start / (epoch + 1) for epoch in range(epochs)]
    return {
        "perplexity": falling,
        "val_perplexity": [value + 1 for value in falling],
        "val_free_running_perplexity": [9 * value for value in falling],
        "val_bleu": [10.0 * epoch for epoch in range(epochs)],
        "teacher_forcing": [1.0 - epoch / 10 for epoch in range(epochs)],
        "learning_rate": [0.002] * epochs,
    }


class Root:
    """Publishes artifacts one after the other, a minute each."""

    def __init__(self, path: Path) -> None:
        self.path, self.states, self.clock = path, [], datetime(2026, 11, 25, 7, 0, tzinfo=UTC)

    def publish(self, key: str, files: dict, *, inputs=(), metrics=(), parameters=(), state="up to date", **more):
        name = key.partition(" ")[0]
        folder = self.path / name / artifacts.fingerprint(key)[:12]
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        folder.mkdir(parents=True, exist_ok=True)
        done = {item.component: item.artifact for item in self.states}
        started, self.clock = self.clock, self.clock + timedelta(minutes=1)
        artifact = artifacts.publish(
            folder,
            component=name,
            version=1,
            inputs={item: done[item] for item in inputs},
            external_files=more.get("external_files", {}),
            parameters=dict(parameters),
            metrics=dict(metrics),
            started=started,
            ended=self.clock,
        )
        self.states.append(State(key, state, artifact))


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    """Everything that the page can show, of an ensemble of two."""
    root = Root(tmp_path_factory.mktemp("run"))
    dropped = {"empty_target": {"count": 7, "examples": [example(HOSTILE)]}, "ratio": {"count": 2, "examples": []}}
    counts = {"read": 100, "repeated": 14, "kept": {"train": 100, "validation": 0, "test": 5}, "dropped": dropped}
    root.publish("ExampleGen", {"counts.json": counts}, external_files={f"source {HOSTILE}.de": "ab" * 32})
    root.publish("Transform", {}, inputs=["ExampleGen"])
    root.publish("StatisticsGen", {"statistics.json": statistics()}, inputs=["ExampleGen", "Transform"])
    checks = [
        {"check": "balance", "split": "all", "value": 0, "limit": 0, "verdict": "ok"},
        {"check": "untranslated", "split": "train", "value": 0.02, "limit": 1, "verdict": "off", "key": "max_share"},
    ]
    anomalies = {"anomalies": 0, "checks": checks}
    root.publish("ExampleValidator", {"anomalies.json": anomalies}, inputs=["StatisticsGen"])
    for seed in (1, 2):
        metrics = {
            "epoch": 2 + seed,
            "averaged": 0,
            "perplexity": 5.0,
            "bleu": 20.0,
            "parameters": 1234567,
            "epochs": 4,
        }
        root.publish(
            f"Trainer seed {seed}",
            {"history.json": history(4, 100.0 * seed)},
            inputs=["Transform"],
            metrics=metrics,
            parameters={"training": {"selection": "bleu"}},
        )
    seeds = ["Trainer seed 1", "Trainer seed 2"]
    root.publish("Ensembler", {}, inputs=["Transform", *seeds], metrics={"members": 2, "parameters": 2469134})
    rows = "".join("\t".join(row) + "\n" for row in TRANSLATIONS)
    files = {"evaluation.json": EVALUATION, "translations.tsv": rows, "attention.json": ATTENTION}
    root.publish("Evaluator", files, inputs=["Transform", "Ensembler"], metrics=EVALUATION["figures"])
    verdict = {"blessed": False, "reason": f"worse than {HOSTILE}", "metric": "bleu", "value": 40.91}
    compared = {
        "baseline": "0123456789ab",
        "candidate_value": 40.91,
        "compared_on": 4,
        "baseline_value": 42.0,
        "difference": -1.09,
        "interval": [-2, 0],
        "p": 0.04,
    }
    root.publish("ModelValidator", {}, inputs=["Evaluator"], metrics=verdict | compared)
    card = {
        "name": "my",
        "configuration": {"model": {"cell": "lstm", "nested": {"deep": [1, 2]}}, "shards": 8, HOSTILE: {"a": None}},
        "vocabularies": {"source.vocabulary.tsv": "cd" * 32},
        "versions": {"tensorflow": "2.21.0"},
    }
    root.publish("Exporter", {"my/1/assets.extra/model_card.json": card}, inputs=["Ensembler", "Evaluator"])
    rungs = [{"rung": "lint", "passed": True, "findings": []}, {"rung": "C++", "passed": None, "findings": [HOSTILE]}]
    root.publish("InfraValidator", {"validation.json": rungs}, inputs=["Exporter"], state="outdated")
    config = Config.model_validate({"name": "my <b>run", "data": {"builtin": "dates"}, "ensemble": {"seeds": [1, 2]}})
    return Run(config, [*root.states, State("Pusher", "missing", None)])
