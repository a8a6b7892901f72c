"""What each command does that makes a model or uses it here; `pipeline/serving_commands.py` has those of serving.

`pipeline/cli.py` parses the arguments and reports mistakes.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline import artifacts, runner, status
from pipeline.components import build, model_key, shortlist_keys
from pipeline.config import Config, dump, load
from pipeline.errors import UsageError
from pipeline.quiet import load_tensorflow

REMOTE_BATCH = 16
"""Texts that are sent to a server together, at most: the batch size that its configuration allows."""


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    del parser


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of `heliograph`."""

    summary: str
    """One line of help."""
    example: str
    """A command line that works."""
    execute: Callable[[argparse.Namespace], None]
    """Does it; raises UsageError, DataError or OSError."""
    add_arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments
    """Declares arguments beside CONFIG, --set and --root."""
    takes_beam_args: bool = False
    """Whether Beam options may follow `--`."""
    takes_config: bool = True
    """Whether it has CONFIG, --set and --root."""


def configuration(arguments: argparse.Namespace) -> tuple[Config, Path]:
    """The configuration that was named, and the root of its run."""
    config = load(arguments.config, arguments.overrides)
    root = Path(arguments.root or Path("runs") / config.name).expanduser()
    if any(mark in str(root.absolute()) for mark in "*?["):
        raise UsageError(f"{root.absolute()}: Beam reads *, ? and [ in a path as wildcards; choose another --root")
    return config, root


def _execute(
    arguments: argparse.Namespace, until: Callable[[Config], str] | None
) -> tuple[Config, dict[str, artifacts.Artifact]]:
    config, root = configuration(arguments)
    if arguments.beam_args:
        from preprocessing.beam_run import pipeline_options

        pipeline_options(arguments.beam_args)  # a misspelt option is a mistake even if there is nothing to do
    root.mkdir(parents=True, exist_ok=True)
    artifacts.write_whole(root / "config.toml", dump(config))
    key = until(config) if until else None
    return config, runner.run(build(config, arguments.beam_args), root.absolute(), key)


def repeated(arguments: argparse.Namespace) -> list[str]:
    """CONFIG and options as they were typed, for a command that is to continue this one."""
    options = [part for override in arguments.overrides for part in ("--set", override)]
    return [arguments.config, *options, *(["--root", arguments.root] if arguments.root else [])]


def _run(arguments: argparse.Namespace) -> None:
    config, done = _execute(arguments, until=None)
    page = _write_page(config, [runner.State(key, "up to date", artifact) for key, artifact in done.items()])
    load_tensorflow()
    from pipeline.report import final_report

    print(final_report(config, done, repeated(arguments), page))


def stage(until: Callable[[Config], str]) -> Callable[[argparse.Namespace], None]:
    """A command that ends with one component, named by its key: prints its figures, then its folder."""

    def execute(arguments: argparse.Namespace) -> None:
        config, done = _execute(arguments, until)
        artifact = done[until(config)]
        for name, value in status.numbers(artifact.metrics).items():
            print(f"{name}\t{value}")
        print(artifact.path)

    return execute


def _status(arguments: argparse.Namespace) -> None:
    config, root = configuration(arguments)
    states = runner.inspect(build(config), root)
    print(status.table(states))
    headline = status.headline(states)
    if headline:
        print(f"\n{headline}")


def _report(arguments: argparse.Namespace) -> None:
    config, root = configuration(arguments)
    states = runner.inspect(build(config), root)
    if all(state.artifact is None for state in states):
        line = shlex.join(["heliograph", "run", *repeated(arguments)])
        raise UsageError(f"{root}: nothing to report of this configuration yet; make it: {line}")
    print(_write_page(config, states))


def _write_page(config: Config, states: Sequence[runner.State]) -> Path:
    """Writes the page of a run with at least one artifact into its root."""
    from pipeline.html_report.page import write_page

    root = next(state.artifact.path.parent.parent for state in states if state.artifact is not None)
    return write_page(config, states, root)


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return int(text)


def _add_translate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="text, one sentence a line; - = standard input"
    )
    parser.add_argument(
        "--n-best", type=positive, metavar="N", help="the N best translations of each line, with scores"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--model", metavar="DIR", type=Path, help="a SavedModel to use instead of the model of CONFIG")
    where.add_argument(
        "--endpoint",
        metavar="URL",
        help="a server to ask instead: http://HOST:PORT/v1/models/NAME or grpc://HOST:PORT/NAME",
    )
    parser.add_argument("--batch-size", type=positive, metavar="N", help="lines translated together")


def _translate(arguments: argparse.Namespace) -> None:
    config, root = configuration(arguments)
    if arguments.endpoint and arguments.n_best is not None:
        raise UsageError("--n-best: expected none with --endpoint, which gives the best translation")
    trained = None if arguments.model or arguments.endpoint else _trained(config, root, arguments)
    if arguments.file == "-":
        _translate_lines(config, trained, arguments, sys.stdin.buffer)
    else:
        with Path(arguments.file).open("rb") as source:
            _translate_lines(config, trained, arguments, source)


def _translate_lines(
    config: Config, trained: tuple[Path, ...] | None, arguments: argparse.Namespace, source: BinaryIO
) -> None:
    load_tensorflow()
    from pipeline.translate import load_saved_model, remote_signatures, trained_translator, translate_lines

    batch_size = arguments.batch_size or config.evaluation.batch_size
    # The variables live as long as the object that they belong to; its signatures alone do not hold them.
    if arguments.endpoint:
        signatures = remote_signatures(arguments.endpoint, min(batch_size, REMOTE_BATCH))
    elif trained is None:
        owner = load_saved_model(arguments.model)
        signatures = owner.signatures
    else:
        owner = trained_translator(config, *trained, n_best=arguments.n_best)
        signatures = owner.signatures()
    translate_lines(signatures, source, sys.stdout, n_best=arguments.n_best, batch_size=batch_size)


def _trained(config: Config, root: Path, arguments: argparse.Namespace) -> tuple[Path, ...]:
    """The folders of Transform, of the model and, if there is one, of the shortlist; never makes them.

    Raises:
        UsageError: One is not there; the message has the command that makes it.
    """
    model = model_key(config)
    makers = {"Transform": "train", model: "train", **dict.fromkeys(shortlist_keys(config), "evaluate")}
    states = {state.component: state for state in runner.inspect(build(config), root)}
    paths = []
    for key, command in makers.items():
        state = states[key]
        if state.state != "up to date" or state.artifact is None:
            line = shlex.join(["heliograph", command, *repeated(arguments)])
            what = "shortlist" if command == "evaluate" else "trained model"
            raise UsageError(f"{root}: no {what} of this configuration ({states[key].state}); {command} it: {line}")
        paths.append(state.artifact.path)
    return tuple(paths)


COMMANDS = {
    "run": Command(
        summary="execute every component in order, skipping what is up to date, and report",
        example="heliograph run dates --set training.epochs=3",
        execute=_run,
        takes_beam_args=True,
    ),
    "preprocess": Command(
        summary="text to vocabularies, records and corpus statistics",
        example="heliograph preprocess my.toml -- --direct_num_workers=2 --direct_running_mode=multi_processing",
        execute=stage(lambda _: "StatisticsGen"),
        takes_beam_args=True,
    ),
    "train": Command(
        summary="fit the network, and what that needs",
        example="heliograph train my.toml --set model.hidden_size=256",
        execute=stage(model_key),
        takes_beam_args=True,
    ),
    "evaluate": Command(
        summary="perplexities and scores of the test split, and what that needs",
        example="heliograph evaluate my.toml --set search.beam_size=1",
        execute=stage(lambda _: "Evaluator"),
        takes_beam_args=True,
    ),
    "export": Command(
        summary="write the SavedModel for TF Serving, and what that needs",
        example="heliograph export my.toml",
        execute=stage(lambda _: "Exporter"),
        takes_beam_args=True,
    ),
    "translate": Command(
        summary="text in, text out, line by line, with the trained model",
        example="echo 'donnerstag, 5. mai 1994' | heliograph translate dates",
        execute=_translate,
        add_arguments=_add_translate_arguments,
    ),
    "status": Command(
        summary="what exists, from what, how good; executes nothing",
        example="heliograph status dates",
        execute=_status,
    ),
    "report": Command(
        summary="write a page with charts of corpus, training and evaluation; executes nothing",
        example="heliograph report dates",
        execute=_report,
    ),
}
"""Every command by name, in the order of the help."""
