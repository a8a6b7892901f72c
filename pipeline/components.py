"""The steps of a run: what each depends on, and which function does it.

    ExampleGen ─▶ Transform ─┬─▶ StatisticsGen ─▶ ExampleValidator
                             └─▶ Trainer ─┬─▶ Evaluator ─▶ ModelValidator ─┐
                                          └─▶ Exporter ─▶ InfraValidator ──┴─▶ Pusher

Trainers come after the ExampleValidator, without reading it: another limit is no other model.
With `search.shortlist`, the ShortlistGen reads Transform's records for Evaluator and Exporter. With `[ensemble]` there
is a Trainer for each of its seeds, and between them and what follows the Ensembler, which makes one model of theirs.
The ModelValidator also reads the evaluation of the last model of this root that was blessed.
The names are TFX's, but for Exporter, Ensembler and ShortlistGen. A component is executed again when a section that it
is built from changes, so another beam size trains nothing and another model preprocesses nothing. Functions are
imported when they are executed: TensorFlow and Beam take seconds that `heliograph status` does not have.
"""

import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts import Artifact
from pipeline.blessing import BASELINE, find_baseline
from pipeline.component import Component, Execute
from pipeline.config import Config, EvaluationConfig, SearchConfig
from pipeline.config_files import CORPUS_PATH_KEYS
from pipeline.data_config import FiltersConfig
from pipeline.data_files import external_files
from pipeline.example_validator import compared_files, earlier_statistics, validate_examples
from pipeline.fresh_process import call
from pipeline.model_config import RecurrentConfig
from pipeline.pusher import is_published, push_model
from pipeline.quiet import load_tensorflow
from pipeline.serving_config import ServingConfig
from pipeline.text_config import TextSection, VocabularySection
from pipeline.training_config import TrainingConfig
from pipeline.validation_config import ValidationConfig

LOGS = "logs"
"""Folder of a Trainer's TensorBoard logs."""

CHECKPOINTS = "checkpoints"
"""Folder from which a Trainer's next execution goes on."""

_BLESSING = ("bless_metric", "bless_margin", "bless_minimum")
"""What the ModelValidator alone reads of the section `evaluation`."""

DEFAULTS = {
    "source": TextSection(),
    "target": TextSection(),
    "vocabulary": VocabularySection(),
    "filters": FiltersConfig(),
    "validation": ValidationConfig(),
    "model": RecurrentConfig(),
    "training": TrainingConfig(),
    "search": SearchConfig(),
    "evaluation": EvaluationConfig(),
    "serving": ServingConfig(),
}
"""Sections of the configuration by name, as they are if nothing is set."""


def build(config: Config, beam_args: Sequence[str] = ()) -> tuple[Component, ...]:
    """The components of a configuration, in topological order.

    Args:
        config: The experiment.
        beam_args: Beam options such as `--runner=FlinkRunner`; they change where, not what is computed.
    """
    return (
        _example_gen(config, beam_args),
        _transform(config, beam_args),
        _statistics_gen(beam_args),
        _example_validator(config),
        *_trainers(config),
        *((_shortlist_gen(config, beam_args),) if config.search.shortlist else ()),
        _evaluator(config),
        _model_validator(config),
        _exporter(config),
        _infra_validator(config),
        *((_pusher(config),) if config.serving.push_to else ()),
    )


def model_key(config: Config) -> str:
    """Key of the component whose artifact is the model."""
    return "Ensembler" if config.ensemble.seeds else "Trainer"


def trainer_keys(config: Config) -> tuple[str, ...]:
    """Keys of the components that train."""
    return tuple(f"Trainer seed {seed}" for seed in config.ensemble.seeds) or ("Trainer",)


def _example_gen(config: Config, beam_args: Sequence[str]) -> Component:
    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.preprocess import generate

        return generate(config, output, beam_args)

    data = config.data
    parameters: dict[str, Any] = {
        "source": config.source.text_options(),
        "target": config.target.text_options(),
        "filters": config.filters.model_dump(),
        "fractions": [data.validation_fraction, data.test_fraction],
        "shards": data.shards,
    }
    packages = ["tensorflow-text"]  # normalises
    if data.corpora:
        # The files' names and contents are in the fingerprint by themselves; a corpus may move to another folder.
        parameters["corpora"] = [corpus.model_dump(exclude=set(CORPUS_PATH_KEYS)) for corpus in data.corpora]
    if data.builtin is not None:
        # The corpora are made from the CLDR data in these packages.
        parameters |= {"builtin": data.builtin, "options": getattr(data, data.builtin).model_dump()}
        packages.append({"dates": "babel", "emoji": "emoji"}[data.builtin])
    return Component(
        name="ExampleGen",
        version=4,
        packages=exactly(*packages),
        parameters=parameters,
        external_files=lambda: external_files(data),
        execute=_with_tensorflow(execute),
    )


def _transform(config: Config, beam_args: Sequence[str]) -> Component:
    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.preprocess import transform

        return transform(config, inputs["ExampleGen"], output, beam_args)

    return Component(
        name="Transform",
        version=2,
        packages=exactly("tensorflow-text", "sentencepiece"),
        inputs=("ExampleGen",),
        parameters={
            "source": config.source.model_dump(),
            "target": config.target.model_dump(),
            "vocabulary": config.vocabulary.model_dump(),
        },
        execute=_with_tensorflow(execute),
    )


def _statistics_gen(beam_args: Sequence[str]) -> Component:
    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.preprocess import statistics

        return statistics(inputs["ExampleGen"], inputs["Transform"], output, beam_args)

    return Component(
        name="StatisticsGen", version=3, inputs=("ExampleGen", "Transform"), execute=_with_tensorflow(execute)
    )


def _example_validator(config: Config) -> Component:
    validation = config.validation
    earlier = functools.cache(lambda: earlier_statistics(validation))

    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        return validate_examples(validation, earlier(), inputs["StatisticsGen"], output)

    return Component(
        name="ExampleValidator",
        version=1,
        inputs=("StatisticsGen",),
        parameters=validation.model_dump(exclude={"compare_with"}),
        external_files=lambda: compared_files(earlier()),
        execute=execute,
    )


def _shortlist_gen(config: Config, beam_args: Sequence[str]) -> Component:
    candidates, frequent = config.search.shortlist, config.search.shortlist_frequent

    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.preprocess import shortlist

        return shortlist(candidates, frequent, inputs["Transform"], output, beam_args)

    return Component(
        name="ShortlistGen",
        version=1,
        inputs=("Transform",),
        parameters={"candidates": candidates, "frequent": frequent},
        execute=_with_tensorflow(execute),
    )


def shortlist_keys(config: Config) -> tuple[str, ...]:
    """Key of the component that makes the shortlist, if there is one."""
    return ("ShortlistGen",) if config.search.shortlist else ()


def _trainers(config: Config) -> tuple[Component, ...]:
    if not config.ensemble.seeds:
        return (_trainer(config),)
    return (*(_trainer(config, seed) for seed in config.ensemble.seeds), _ensembler(config))


def _ensembler(config: Config) -> Component:
    keys = trainer_keys(config)

    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.model_files import join_models

        return join_models([inputs[key] for key in keys], inputs["Transform"], output)

    return Component(
        name="Ensembler",
        version=1,
        packages=series("keras"),
        inputs=("Transform", *keys),
        execute=_with_tensorflow(execute),
    )


def _trainer(config: Config, seed: int | None = None) -> Component:
    if seed is not None:
        config = config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})
    view, parameters = _sections(config, "model", "training", "source", "target")
    del parameters["training"]["checkpoint_minutes"]  # changes no result

    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.train import train

        return train(view, inputs["Transform"], output)

    return Component(
        name="Trainer",
        variant="" if seed is None else f"seed {seed}",
        version=5,
        packages=series("tensorflow", "keras"),  # hours of work: what a patch mends is not worth them
        inputs=("Transform",),
        after=("ExampleValidator",),
        parameters=parameters,
        execute=_with_tensorflow(execute),
        resumes_from=CHECKPOINTS,
        timed=LOGS,
    )


def _evaluator(config: Config) -> Component:
    view, parameters = _as_served(config, "search", "evaluation", "source", "target")
    for name in ("samples", *_BLESSING):  # the report's, and the ModelValidator's
        del parameters["evaluation"][name]

    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.evaluate import evaluate

        return evaluate(view, inputs["Transform"], inputs[model_key(config)], output, inputs.get("ShortlistGen"))

    return Component(
        name="Evaluator",
        version=7,
        packages=series("tensorflow", "keras") | exactly("sacrebleu", "rapidfuzz"),
        inputs=("Transform", model_key(config), *shortlist_keys(config)),
        parameters=parameters,
        execute=_with_tensorflow(execute),
    )


def _model_validator(config: Config) -> Component:
    view, parameters = _sections(config, "evaluation", "target")
    evaluation = parameters["evaluation"]
    folder = config.serving.push_to

    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.model_validator import bless_model

        return bless_model(view, inputs["Evaluator"], inputs.get(BASELINE), output)

    def resolve(root: Path, inputs: Mapping[str, Artifact]) -> Mapping[str, Artifact]:
        published = None if folder is None else Path(folder, config.name)
        return find_baseline(root, inputs["Evaluator"], config.name, published)

    return Component(
        name="ModelValidator",
        version=1,
        packages=exactly("sacrebleu", "rapidfuzz"),  # it scores once more
        inputs=("Evaluator",),
        parameters={
            "name": config.name,
            **{name: evaluation[name] for name in (*_BLESSING, "resamples", "min_slice")},
            "bless_metric": config.bless_metric,  # where it is not set, it follows from others
            "target": parameters["target"],
        },
        execute=_with_tensorflow(execute),
        resolve=resolve,
    )


def _exporter(config: Config) -> Component:
    view, parameters = _as_served(config, "search", "source", "target")

    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        exported: Mapping[str, Any] = call(
            "pipeline.export_model",
            "export_model",
            view,
            inputs["Transform"],
            inputs[model_key(config)],
            inputs["Evaluator"],
            output,
            inputs.get("ShortlistGen"),
        )
        return exported

    return Component(
        name="Exporter",
        version=6,
        packages=exactly("tensorflow", "tensorflow-text", "keras"),
        inputs=("Transform", model_key(config), *shortlist_keys(config), "Evaluator"),
        parameters={"name": config.name, **parameters},
        execute=execute,
    )


def _infra_validator(config: Config) -> Component:
    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.export_model import validate_model

        return validate_model(config, inputs["Exporter"], output)

    return Component(
        name="InfraValidator",
        version=1,
        packages=exactly("tensorflow", "tensorflow-text"),
        inputs=("Exporter",),
        parameters={"name": config.name},
        execute=_with_tensorflow(execute),
    )


def _pusher(config: Config) -> Component:
    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        return push_model(config, inputs["Exporter"], inputs["ModelValidator"], output)

    return Component(
        name="Pusher",
        version=2,
        inputs=("Exporter", "ModelValidator", "InfraValidator"),  # the last is not read: without it, nothing is pushed
        parameters={"name": config.name, **config.serving.model_dump(exclude={"precision"})},
        execute=execute,
        still_there=is_published,
    )


def exactly(*distributions: str) -> dict[str, str]:
    """Their installed versions: for what may come out differently with any other."""
    return {name: importlib.metadata.version(name) for name in distributions}


def series(*distributions: str) -> dict[str, str]:
    """Their installed versions, major.minor: for what is not made anew because of a patch."""
    return {name: ".".join(importlib.metadata.version(name).split(".")[:2]) for name in distributions}


def _sections(config: Config, *names: str) -> tuple[Config, dict[str, Any]]:
    """The configuration with only these sections, the others at their defaults; and the sections as parameters.

    What a component cannot see it cannot depend on, so its fingerprint is complete.
    """
    hidden = {name: default for name, default in DEFAULTS.items() if name not in names}
    return config.model_copy(update=hidden), {name: getattr(config, name).model_dump() for name in names}


def _as_served(config: Config, *names: str) -> tuple[Config, dict[str, Any]]:
    """As `_sections`, with the one key of `[serving]` that a model's answers depend on."""
    view, parameters = _sections(config, *names)
    precision = config.serving.precision
    served = view.model_copy(update={"serving": ServingConfig(precision=precision)})
    if not config.search.shortlist:
        del parameters["search"]["shortlist_frequent"]  # has no effect
    return served, {**parameters, "serving": {"precision": precision}}


def _with_tensorflow(execute: Execute) -> Execute:
    """Loads TensorFlow before anything else of ours imports it, without its chatter."""

    def loaded(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        load_tensorflow()
        return execute(inputs, output)

    return loaded
