"""The steps of a run: what each depends on, and which function does it.

    ExampleGen ─▶ Transform ─┬─▶ StatisticsGen
                             └─▶ Trainer ─┬─▶ Evaluator
                                          └─▶ Exporter ─▶ InfraValidator ─▶ Pusher

With `search.shortlist`, the ShortlistGen reads Transform's records for Evaluator and Exporter. With `[ensemble]` there
is a Trainer for each of its seeds, and between them and what follows the Ensembler, which makes one model of theirs.
The names are TFX's, but for Exporter, Ensembler and ShortlistGen. A component is executed again when a section that it
is built from changes, so another beam size trains nothing and another model preprocesses nothing. Functions are
imported when they are executed: TensorFlow and Beam take seconds that `heliograph status` does not have.
"""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import Config, EvaluationConfig, SearchConfig
from pipeline.data_config import FiltersConfig
from pipeline.data_files import external_files
from pipeline.model_config import RecurrentConfig
from pipeline.quiet import load_tensorflow
from pipeline.runner import Component, Execute
from pipeline.serving_config import ServingConfig
from pipeline.text_config import TextSection, VocabularySection
from pipeline.training_config import TrainingConfig

PUSHED_FILE = "pushed.json"
"""Where the Pusher notes what it published."""

_DEFAULTS = {
    "source": TextSection(),
    "target": TextSection(),
    "vocabulary": VocabularySection(),
    "filters": FiltersConfig(),
    "model": RecurrentConfig(),
    "training": TrainingConfig(),
    "search": SearchConfig(),
    "evaluation": EvaluationConfig(),
    "serving": ServingConfig(),
}


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
        *_trainers(config),
        *((_shortlist_gen(config, beam_args),) if config.search.shortlist else ()),
        _evaluator(config),
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
    if data.builtin is not None:
        # The corpora are made from the CLDR data in these packages.
        package = {"dates": "babel", "emoji": "emoji"}[data.builtin]
        parameters |= {
            "builtin": data.builtin,
            "options": getattr(data, data.builtin).model_dump(),
            "package": f"{package} {importlib.metadata.version(package)}",
        }
    return Component(
        name="ExampleGen",
        version=2,
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
        name="StatisticsGen", version=1, inputs=("ExampleGen", "Transform"), execute=_with_tensorflow(execute)
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

    return Component(name="Ensembler", version=1, inputs=("Transform", *keys), execute=_with_tensorflow(execute))


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
        version=3,
        inputs=("Transform",),
        parameters=parameters,
        execute=_with_tensorflow(execute),
        resumes_from="checkpoints",
    )


def _evaluator(config: Config) -> Component:
    view, parameters = _as_served(config, "search", "evaluation", "source", "target")
    del parameters["evaluation"]["samples"]  # only the report shows them

    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.evaluate import evaluate

        return evaluate(view, inputs["Transform"], inputs[model_key(config)], output, inputs.get("ShortlistGen"))

    return Component(
        name="Evaluator",
        version=3,
        inputs=("Transform", model_key(config), *shortlist_keys(config)),
        parameters=parameters,
        execute=_with_tensorflow(execute),
    )


def _exporter(config: Config) -> Component:
    view, parameters = _as_served(config, "search", "source", "target")

    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.export_model import export_model

        return export_model(
            view,
            inputs["Transform"],
            inputs[model_key(config)],
            inputs["Evaluator"],
            output,
            inputs.get("ShortlistGen"),
        )

    return Component(
        name="Exporter",
        version=3,
        inputs=("Transform", model_key(config), *shortlist_keys(config), "Evaluator"),
        parameters={"name": config.name, **parameters},
        execute=_with_tensorflow(execute),
    )


def _infra_validator(config: Config) -> Component:
    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.export_model import validate_model

        return validate_model(config, inputs["Exporter"], output)

    return Component(
        name="InfraValidator",
        version=1,
        inputs=("Exporter",),
        parameters={"name": config.name},
        execute=_with_tensorflow(execute),
    )


def _pusher(config: Config) -> Component:
    def execute(inputs: Mapping[str, Path], output: Path) -> Mapping[str, Any]:
        from pipeline.export_model import push_model

        return push_model(config, inputs["Exporter"], output)

    return Component(
        name="Pusher",
        version=1,
        inputs=("Exporter", "InfraValidator"),  # not read: without its artifact, nothing is pushed
        parameters={"name": config.name, **config.serving.model_dump(exclude={"precision"})},
        execute=_with_tensorflow(execute),
        still_there=is_published,
    )


def is_published(pusher_dir: Path) -> bool:
    """Whether the version that `push_model` published is still there, be it or not the newest: a rollback stands."""
    published = Path(json.loads((pusher_dir / PUSHED_FILE).read_text(encoding="utf-8"))["published"])
    return published.is_dir()


def _sections(config: Config, *names: str) -> tuple[Config, dict[str, Any]]:
    """The configuration with only these sections, the others at their defaults; and the sections as parameters.

    What a component cannot see it cannot depend on, so its fingerprint is complete.
    """
    hidden = {name: default for name, default in _DEFAULTS.items() if name not in names}
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
