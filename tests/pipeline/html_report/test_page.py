"""The page is well formed, shows what the artifacts hold, and never takes their text for markup."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts import find_all
from pipeline.config import load
from pipeline.html_report.blocks import Table
from pipeline.html_report.page import _environment, page, write_page
from pipeline.html_report.run import Run
from pipeline.html_report.sentences import best_and_worst, ranked
from pipeline.html_report.svg import visible
from pipeline.plan import State
from pipeline.translations import Translation
from tests.pipeline.html_report.conftest import ATTENTION, HOSTILE, LONG, Root, history

BLOCKS = _environment().from_string('{% from "blocks.html" import show %}{{ show(blocks) }}')

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Document(HTMLParser):
    """What a parser finds; refuses an element that is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text, self.rows = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def of(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module")
def html(run) -> str:
    return page(run)


@pytest.fixture(scope="module")
def document(html) -> Document:
    return Document(html)


def test_it_begins_and_ends_as_a_page(html, document):
    assert html.startswith("<!DOCTYPE html>\n<html") and html.endswith(
        "</html>\n" if html.endswith("\n") else "</html>"
    )
    names = [tag for tag, _ in document.elements]
    assert names.count("h1") == names.count("main") == names.count("style") == 1


def test_links_lead_to_places_on_the_page(document):
    anchors = document.of("id")
    assert len(anchors) == len(set(anchors))
    links = [attributes["href"] for tag, attributes in document.elements if tag == "a"]
    assert links and {link.removeprefix("#") for link in links} <= set(anchors)
    assert all(link.startswith("#") for link in links)
    assert {"corpus", "training", "evaluation", "model", "lineage"} <= set(anchors)


def test_nothing_is_fetched_and_nothing_is_executed(html, document):
    loading = {"script", "img", "iframe", "object", "embed", "video", "audio", "source", "base", "form", "image", "use"}
    assert not loading & {tag for tag, _ in document.elements}
    assert not document.of("src") and not document.of("srcset") and not document.of("style")
    assert not [name for _, attributes in document.elements for name in attributes if name.startswith("on")]
    assert [attributes for tag, attributes in document.elements if tag == "link"] == [{"rel": "icon", "href": "data:,"}]
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    policy = next(attributes["content"] for _, attributes in document.elements if "http-equiv" in attributes)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_hostile_text_is_shown_as_it_is(document):
    text = visible(HOSTILE)
    cells = [cell for row in document.rows for cell in row]
    # A dropped pair, a suspicious one, a sentence, a finding, a file; the bell is not in text of translations.tsv.
    assert sum(text in cell for cell in cells) >= 5 and text.rstrip("␇") in cells
    assert sum(label == f"Attention of: {text}" for label in document.of("aria-label")) == 1
    assert "my <b>run" in "".join(document.text) and "49" not in [cell.strip() for cell in cells]


@given(st.text())
def test_any_text_comes_through(text):
    table = Table(header=("a",), rows=[(text,)], columns="t", caption=text)
    document = Document(BLOCKS.render(blocks=[table]))
    # A parser takes CR for LF, and the template trims the cell.
    expected = visible(text).replace("\r\n", "\n").replace("\r", "\n").strip()
    assert document.rows[1][0].replace("\r\n", "\n").replace("\r", "\n").strip() == expected


def test_what_the_components_found_is_there(document):
    text = " ".join("".join(document.text).split())
    for expected in (
        "100 pairs read and 14 repeated; 105 kept, 9 dropped (7.89 %).",
        "empty target: 7 dropped (6.14 %)",
        "untranslated: 2 of 100 pairs (2.00 %)",
        "2 checks: 1 passed, 1 switched off.",
        "Not blessed, so not published: worse than",
        "Test split: 4 sources with 5 references",
        "Faint: too few sentences to tell.",
        "Outdated: InfraValidator.",
        "Not there yet: Pusher.",
        "Made from ExampleGen",
        "the last of 2026-11-25 07:11 UTC.",
    ):
        assert expected in text, expected
    rows = document.rows
    assert ["BLEU", "40.91", "39.20 to 42.50", "39.75", "LC", "nrefs:1|case:lc"] in rows
    assert ["train", "100", "380", "300", "3.8", "3.0", "0.79 %", "1.00 %"] in rows
    assert ["BLEU", "40.91", "42.00", "-1.09", "-2.00 to 0.00", "0.040"] in rows
    assert ["seed 2", "1,234,567", "4", "epoch 4", "BLEU", "5.000", "20.00"] in rows
    assert ["1-8 (3)", "45.25", "43 to 47.5"] in rows  # the values of a chart of slices
    assert ["nested.deep", "1, 2"] in rows and ["a", "none"] in rows
    assert ["10", "97", "97"] in rows  # coverage
    assert any(row[:1] == ["Trainer seed 1"] and "1 min" not in row and "60 s" in row for row in rows)


def test_each_seed_is_a_line(document):
    legends = [" ".join(text.split()) for text in document.text]
    assert "seed 1, training" in legends and "seed 2, validation" in legends and "kept" in legends


def test_scores_over_the_epochs_are_drawn_or_it_is_said_why_not(html, tmp_path):
    note = "No BLEU over the epochs"
    assert "BLEU, validation" in html and note not in html
    root = Root(tmp_path)
    figures = {"epoch": 1, "epochs": 2, "parameters": 3, "perplexity": 4.5}
    for score in ((), ("val_chrf",)):  # whatever picked the epoch
        chosen = {"perplexity", "val_perplexity", *score}
        text = {name: values for name, values in (history(2, 9.0) | {"val_chrf": [1.0, 2.0]}).items() if name in chosen}
        parameters = {"training": {"selection": "perplexity"}}
        root.publish("Trainer", {"history.json": text}, metrics=figures, parameters=parameters)
        text = page(Run(load("dates", []), root.states[-1:]))
        assert (note in text) == (not score) and ("chrF, validation" in text) == bool(score)


def test_an_input_that_is_not_shown_is_no_link(run):
    without = Run(run.config, [state for state in run.states if state.component != "Transform"])
    document = Document(page(without))
    anchors = set(document.of("id"))
    assert all(link.removeprefix("#") in anchors for link in document.of("href") if link != "data:,")
    assert any("Transform" in cell for row in document.rows for cell in row)


@pytest.mark.parametrize("count", range(1, 13))
def test_a_run_that_has_come_so_far(run, count):
    document = Document(page(Run(run.config, run.states[:count])))
    assert "lineage" in document.of("id")


def test_artifacts_without_the_newer_files(run):
    old = {"attention.json", "anomalies.json"}
    states = [
        State(
            state.component,
            state.state,
            None
            if state.artifact is None
            else dataclasses.replace(
                state.artifact,
                manifest=state.artifact.manifest.model_copy(
                    update={"outputs": {k: v for k, v in state.artifact.manifest.outputs.items() if k not in old}}
                ),
            ),
        )
        for state in run.states
    ]
    html = page(Run(run.config, states))
    assert "Attention of" not in html and "All checks" not in html and "Best and worst" in html


def test_the_same_artifacts_give_the_same_bytes_and_are_left_alone(run, tmp_path):
    before = {path: path.read_bytes() for state in run.states if state.artifact for path in _files(state.artifact.path)}
    first = write_page(run.config, run.states, tmp_path)
    text = first.read_bytes()
    assert write_page(run.config, run.states, tmp_path) == first and first.read_bytes() == text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert {path: path.read_bytes() for path in before} == before and find_all(tmp_path, "Evaluator") == []


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_best_and_worst_do_not_overlap_and_are_in_order():
    rows = [Translation(f"s{n}", "abcdef"[:n], "", ("abcdef",)) for n in range(7)]
    scores = [score for score, _ in ranked(rows, lowercase=False)]
    assert scores == sorted(scores, reverse=True) and scores[0] == 100.0
    worst, best = (block for block in best_and_worst(rows, lowercase=False) if isinstance(block, Table))
    assert [row[1] for row in best.rows] == ["s6", "s5", "s4"] and worst.rows[0][1] == "s0"
    assert not {row[1] for row in best.rows} & {row[1] for row in worst.rows}
    assert best_and_worst(rows[:1], lowercase=False) == []


def test_the_best_of_several_references_and_the_longest_of_equals_come_first():
    several = Translation("a", "the cat", "", ("dogs", "the cat"))
    longer = Translation("a longer one", "the cat", "", ("the cat",))
    assert [row for _, row in ranked([several, longer], lowercase=False)] == [longer, several]
    assert ranked([Translation("a", "The Cat", "", ("the cat",))], lowercase=True)[0][0] == 100.0


def test_tokens_longer_than_their_place_are_shortened(html):
    assert LONG in html and re.search(r">Donaudampfsch…</text>", html) and len(ATTENTION[0]["source_tokens"]) == 42


def test_checks_of_a_corpus_that_failed(tmp_path):
    root = Root(tmp_path)
    root.publish("ExampleGen", {"counts.json": {"read": 9, "repeated": 0, "kept": {"train": 9}, "dropped": {}}})
    check = {"check": "untranslated", "split": "train", "value": 0.7, "limit": 0.2, "verdict": "anomaly", "key": "max"}
    folder = tmp_path / "ExampleValidator" / "0123456789ab"
    failed = State("ExampleValidator", "missing", None, ids=(folder.name,))
    assert "All checks" not in page(Run(load("dates"), [*root.states, failed]))
    folder.mkdir(parents=True)
    (folder / "anomalies.json").write_text(json.dumps({"anomalies": 1, "checks": [check]}))
    document = Document(page(Run(load("dates"), [*root.states, failed])))
    assert ["untranslated", "train", "0.7", "0.2", "failed", "validation.max"] in document.rows
    refused = State("ExampleValidator", "refused", None, "too many pairs look untranslated", (folder.name,))
    html = page(Run(load("dates"), [*root.states, refused]))
    assert "All checks" in html and "ExampleValidator refused: too many pairs look untranslated" in html
    assert "Not there yet" not in html
    assert "1 check: 1 failed." in "".join(document.text)
