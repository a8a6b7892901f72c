"""What each command does that makes a model or uses it here; `pipeline/serving_commands.py` has those of serving.

`pipeline/cli.py` parses the arguments and reports mistakes.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline import artifacts, runner, status
from pipeline.component import Component, keys_of, needed
from pipeline.components import build, model_key, shortlist_keys
from pipeline.config import Config, dump, load
from pipeline.errors import UsageError
from pipeline.init_config import add_init_arguments, init
from pipeline.plan import State, inspect
from pipeline.quiet import load_tensorflow
from pipeline.summary import summary
from preprocessing.errors import RefusedError
from preprocessing.file_patterns import is_remote

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
    root = local_root(arguments.root) if arguments.root else Path("runs") / config.name
    if any(mark in str(root.absolute()) for mark in "*?["):
        raise UsageError(f"{root.absolute()}: Beam reads *, ? and [ in a path as wildcards; choose another --root")
    return config, root


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """`--set` and `--root`, which go with a CONFIG."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="replace a value of the configuration; may be repeated",
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the run (default: runs/NAME in the current folder)")


def local_root(given: str) -> Path:
    """The folder that `--root` names.

    Raises:
        UsageError: it is remote.
    """
    if is_remote(given):
        raise UsageError(
            f"--root {given}: expected a folder of this machine; only data and Beam's workers can be remote"
        )
    return Path(given).expanduser()


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Arguments that choose what is executed."""
    parser.add_argument("--until", metavar="COMPONENT", help="only this component and what it needs")
    parser.add_argument(
        "--rerun",
        metavar="COMPONENT",
        action="append",
        default=[],
        help="execute it although it is up to date; its old artifact is there until the new one is; may be repeated",
    )


def chosen(components: Sequence[Component], arguments: argparse.Namespace) -> tuple[list[str] | None, list[str]]:
    """Keys of the components that `--until` and `--rerun` name.

    Raises:
        UsageError: there is no such component, or `--until` does not need what `--rerun` names.
    """
    option = "--until"
    try:
        until = None if arguments.until is None else keys_of(components, arguments.until)
        option = "--rerun"
        rerun = [key for name in arguments.rerun for key in keys_of(components, name)]
    except ValueError as error:
        hint = "; set serving.push_to" if "Pusher" in (arguments.until, *arguments.rerun) else ""
        raise UsageError(f"{option} {error}{hint}") from None
    wanted = components if until is None else needed(components, until)
    for key in {*rerun} - {component.key for component in wanted}:
        raise UsageError(f"--rerun {key}: expected a component that --until {arguments.until} needs")
    return until, rerun


def _execute(
    arguments: argparse.Namespace, until: Callable[[Config], str] | None = None
) -> tuple[Config, dict[str, artifacts.Artifact]]:
    config, root = configuration(arguments)
    components = build(config, arguments.beam_args)
    keys, rerun = ([until(config)], []) if until else chosen(components, arguments)
    root.mkdir(parents=True, exist_ok=True)
    artifacts.write_whole(root / "config.toml", dump(config))
    return config, runner.run(components, root.absolute(), keys, rerun, arguments.command_line)


def repeated(arguments: argparse.Namespace) -> list[str]:
    """CONFIG and options as they were typed, for a command that is to continue this one."""
    options = [part for override in arguments.overrides for part in ("--set", override)]
    return [arguments.config, *options, *(["--root", arguments.root] if arguments.root else [])]


def _run(arguments: argparse.Namespace) -> None:
    try:
        config, done = _execute(arguments)
    except RefusedError as error:
        config, root = configuration(arguments)
        raise RefusedError(f"{error}; more of it: {_write_page(config, inspect(build(config), root))}") from error
    if arguments.until is not None:
        for component in build(config):
            if arguments.until in (component.name, component.key):
                _print_summary(done[component.key])
        return
    page = _write_page(config, [State(key, "up to date", artifact) for key, artifact in done.items()])
    load_tensorflow()
    from pipeline.report import final_report

    print(final_report(config, done, repeated(arguments), page))


def _print_summary(artifact: artifacts.Artifact) -> None:
    print("\n".join([*summary(artifact.manifest.component, artifact.metrics), str(artifact.path)]))


def stage(until: Callable[[Config], str]) -> Callable[[argparse.Namespace], None]:
    """A command that ends with one component, named by its key: prints what it found, then its folder."""

    def execute(arguments: argparse.Namespace) -> None:
        config, done = _execute(arguments, until)
        _print_summary(done[until(config)])

    return execute


def _status(arguments: argparse.Namespace) -> None:
    config, root = configuration(arguments)
    states = inspect(build(config), root)
    print(status.table(states))
    told = [line for line in (status.headline(states), status.verdict(states)) if line]
    for text in (told, status.reasons(states)):
        if text:
            print("\n" + "\n".join(text))


def _report(arguments: argparse.Namespace) -> None:
    config, root = configuration(arguments)
    states = inspect(build(config), root)
    if all(state.artifact is None for state in states):
        line = shlex.join(["heliograph", "run", *repeated(arguments)])
        raise UsageError(f"{root}: nothing to report of this configuration yet; make it: {line}")
    print(_write_page(config, states))


def _write_page(config: Config, states: Sequence[State]) -> Path:
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
    with ExitStack() as held:
        trained = None
        if not (arguments.model or arguments.endpoint):
            made = _trained(config, root, arguments)
            for artifact in made:
                held.enter_context(artifacts.reading(artifact))
            trained = tuple(artifact.path for artifact in made)
        source = sys.stdin.buffer if arguments.file == "-" else held.enter_context(Path(arguments.file).open("rb"))
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


def _trained(config: Config, root: Path, arguments: argparse.Namespace) -> list[artifacts.Artifact]:
    """The artifacts of Transform, of the model and, if there is one, of the shortlist, which is counted if need be.

    Raises:
        UsageError: There is no trained model; the message has the command that trains it.
    """
    components = build(config)
    # Nothing that comes after these matters, such as what is published.
    wanted = {one.key: one for key in (model_key(config), *shortlist_keys(config)) for one in needed(components, key)}
    states = {state.component: state for state in inspect(tuple(wanted.values()), root)}
    found = []
    for key in ("Transform", model_key(config)):
        state = states[key]
        if state.state != "up to date" or state.artifact is None:
            line = shlex.join(["heliograph", "train", *repeated(arguments)])
            raise UsageError(f"{root}: no trained model of this configuration ({state.state}); train it: {line}")
        found.append(state.artifact)
    for key in shortlist_keys(config):
        artifact = states[key].artifact
        if states[key].state != "up to date" or artifact is None:
            artifact = runner.run(components, root.absolute(), key, command=arguments.command_line)[key]
        found.append(artifact)
    return found


COMMANDS = {
    "init": Command(
        summary="look at files of yours and write a configuration with sensible sizes, saying why",
        example="heliograph init news.de.gz news.en.gz > my.toml",
        execute=init,
        add_arguments=add_init_arguments,
        takes_config=False,
    ),
    "run": Command(
        summary="execute every component in order, skipping what is up to date, and report",
        example="heliograph run dates --set training.epochs=3",
        execute=_run,
        add_arguments=add_choice,
        takes_beam_args=True,
    ),
    "preprocess": Command(
        summary="text to vocabularies, records and statistics, and checks of the corpus",
        example="heliograph preprocess my.toml -- --direct_num_workers=2 --direct_running_mode=multi_processing",
        execute=stage(lambda _: "ExampleValidator"),
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
        takes_beam_args=True,
    ),
    "report": Command(
        summary="write a page with charts of corpus, training and evaluation; executes nothing",
        example="heliograph report dates",
        execute=_report,
        takes_beam_args=True,
    ),
}
"""Every command by name, in the order of the help."""
