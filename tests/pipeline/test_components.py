import pytest

from pipeline.components import build
from pipeline.config import load
from pipeline.runner import needed

NAMES = [
    "ExampleGen",
    "Transform",
    "StatisticsGen",
    "ExampleValidator",
    "Trainer",
    "Evaluator",
    "ModelValidator",
    "Exporter",
    "InfraValidator",
]


UNTOUCHED = ("StatisticsGen", "ExampleValidator", "ModelValidator", "InfraValidator")
"""They see no text of the source."""


def changed(*overrides):
    """Components whose own parameters an override changes."""
    before, after = build(load("dates")), build(load("dates", overrides))
    return [old.name for old, new in zip(before, after, strict=True) if old.parameters != new.parameters]


def test_inputs_come_first():
    components = build(load("dates"))
    assert [component.name for component in components] == NAMES
    for index, component in enumerate(components):
        assert set(component.inputs) <= set(NAMES[:index])
    assert [component.name for component in needed(components, "Exporter")] == [
        "ExampleGen",
        "Transform",
        "StatisticsGen",
        "ExampleValidator",
        "Trainer",
        "Evaluator",
        "Exporter",
    ]


@pytest.mark.parametrize(
    ("override", "components"),
    [
        ("data.dates.count=10", ["ExampleGen"]),
        ("data.shards=2", ["ExampleGen"]),
        ("filters.drop_duplicates=exact", ["ExampleGen"]),
        ("source.min_count=7", ["Transform", "Trainer", "Evaluator", "Exporter"]),
        ("source.lowercase=false", [name for name in NAMES if name not in UNTOUCHED]),
        ("validation.min_test_pairs=7", ["ExampleValidator"]),
        ("model.hidden_size=7", ["Trainer"]),
        ("training.epochs=7", ["Trainer"]),
        ("search.beam_size=7", ["Evaluator", "Exporter"]),
        ("serving.precision=bfloat16", ["Evaluator", "Exporter"]),
        ("evaluation.batch_size=7", ["Evaluator"]),
        ("evaluation.samples=7", []),
        ("evaluation.metrics=['bleu']", ["Evaluator"]),
        ("evaluation.min_slice=7", ["Evaluator", "ModelValidator"]),
        ("evaluation.resamples=200", ["Evaluator", "ModelValidator"]),
        ("evaluation.bless_metric=chrf", ["ModelValidator"]),
        ("evaluation.bless_margin=1", ["ModelValidator"]),
        ("evaluation.bless_minimum=50", ["ModelValidator"]),
        ("target.min_count=7", ["Transform", "Trainer", "Evaluator", "ModelValidator", "Exporter"]),
        ("training.selection=word_error_rate", ["Trainer"]),
        ("name=other", ["ModelValidator", "Exporter", "InfraValidator"]),
        ("data.emoji.target_language=fr", []),
        ("data.corpora=[{tsv='a', weight=2}]", ["ExampleGen"]),
    ],
)
def test_each_depends_only_on_its_sections(override, components):
    assert changed(override) == components


def test_a_corpus_may_move_and_nothing_else_of_it():
    def parameters(corpus):
        return build(load("dates", [f"data.corpora=[{{{corpus}}}]"]))[0].parameters

    assert parameters("csv='/a/x'") == parameters("csv='/b/x'")
    said = [
        "csv='/a'",
        "csv='/a', domain='law'",
        "csv='/a', weight=2",
        "csv='/a', columns=[2, 1]",
        "csv='/a', header=true",
    ]
    assert len({str(parameters(corpus)) for corpus in said}) == len(said)


def test_an_ensemble_has_a_trainer_for_each_seed():
    components = build(load("dates", ["ensemble.seeds=[3, 1]", "training.seed=9"]))
    trainers = [component for component in components if component.name == "Trainer"]
    assert [component.key for component in trainers] == ["Trainer seed 3", "Trainer seed 1"]
    assert [component.parameters["training"]["seed"] for component in trainers] == [3, 1]
    (alone,) = (c for c in build(load("dates", ["training.seed=1"])) if c.name == "Trainer")
    assert trainers[1].parameters == alone.parameters
    keys = [component.key for component in components]
    for component in components:
        assert set(component.inputs) <= set(keys[: keys.index(component.key)])
    inputs = {component.name: component.inputs for component in components}
    assert inputs["Ensembler"] == ("Transform", "Trainer seed 3", "Trainer seed 1")
    assert inputs["Evaluator"] == ("Transform", "Ensembler")
    assert inputs["Exporter"] == ("Transform", "Ensembler", "Evaluator")


def test_a_shortlist_is_counted_for_evaluation_and_export_alone():
    plain, short = ({c.name: c for c in build(load("dates", extra))} for extra in ([], ["search.shortlist=20"]))
    assert set(short) == {*plain, "ShortlistGen"}
    assert [name for name in short if "ShortlistGen" in short[name].inputs] == ["Evaluator", "Exporter"]
    assert short["ShortlistGen"].parameters == {"candidates": 20, "frequent": 300}
    assert all(short[name].parameters == plain[name].parameters for name in ("Transform", "Trainer"))


def test_beam_options_change_no_fingerprint():
    config = load("dates")
    assert [c.parameters for c in build(config)] == [c.parameters for c in build(config, ["--runner=FlinkRunner"])]


def test_only_what_is_blessed_and_validated_is_pushed():
    pusher = build(load("dates", ["serving.push_to=srv"]))[-1]
    assert pusher.name == "Pusher" and {"ModelValidator", "InfraValidator"} <= set(pusher.inputs)
