"""What the commands do that prove, publish and serve a model, and translate whole corpora with it."""

import argparse
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pipeline import artifacts, status
from pipeline.commands import Command, configuration, positive, repeated, stage
from pipeline.components import build
from pipeline.config_files import presets
from pipeline.data_files import user_cache
from pipeline.errors import UsageError
from pipeline.locks import exclusive
from pipeline.plan import inspect
from pipeline.pusher import PUSH_LOCK, waiting
from pipeline.quiet import load_tensorflow
from preprocessing.errors import DataError
from serving.push import roll_back
from serving.versions import newest_version


def _push(arguments: argparse.Namespace) -> None:
    config, _ = configuration(arguments)
    if config.serving.push_to is None:
        raise UsageError(
            f"{arguments.config}: serving.push_to: expected the folder that servers read models from, got nothing; "
            "add it, or give --set serving.push_to=DIR"
        )
    stage(lambda _: "Pusher")(arguments)


def _add_rollback_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL_DIR", type=Path, help="the folder of a model's published versions")
    parser.add_argument(
        "version",
        metavar="VERSION",
        type=positive,
        nargs="?",
        help="which one (default: the one before the current one, after a rollback one further back)",
    )


def _rollback(arguments: argparse.Namespace) -> None:
    try:
        # A Pusher must not publish over it what was judged next to the version that is left.
        held = exclusive(arguments.model / PUSH_LOCK, waiting) if arguments.model.is_dir() else nullcontext()
        with held:
            print(roll_back(arguments.model, arguments.version))
    except FileNotFoundError as error:
        raise UsageError(str(error)) from None


def _add_validate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL_DIR", type=Path, help="a SavedModel, or the folder of its versions: the newest one"
    )


def _validate(arguments: argparse.Namespace) -> None:
    load_tensorflow()
    from pipeline.export_model import describe
    from serving.validate import passed, validate

    version = _version(arguments.model)
    rungs = validate(version.absolute(), user_cache())
    print("\n".join(line for rung in rungs for line in describe(rung)))
    if not passed(rungs):
        raise DataError(f"{version}: not fit to be served")


def _add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL_DIR", help="a SavedModel, or the folder of its versions: the newest one"
    )
    parser.add_argument(
        "pattern", metavar="FILES", help="text files, plain or .gz, one text a line; wildcards in quotes"
    )
    parser.add_argument("output", metavar="OUTPUT_DIR", help="folder of the translations, files of the same names")
    parser.add_argument("--batch-size", type=positive, metavar="N", default=64, help="lines together (default: 64)")


def _translate_corpus(arguments: argparse.Namespace) -> None:
    load_tensorflow()
    from serving.bulk import BulkOptions, translate_corpus

    # What is on this machine may be named by its folder of versions; elsewhere the version itself has to be.
    model = arguments.model if "://" in arguments.model else str(_version(Path(arguments.model)).absolute())
    options = BulkOptions(
        pattern=arguments.pattern, output_dir=arguments.output, model_dir=model, batch_size=arguments.batch_size
    )
    report = translate_corpus(options, arguments.beam_args)
    for name, value in status.numbers(report).items():
        print(f"{name}\t{value}")


def _version(directory: Path) -> Path:
    try:
        return newest_version(directory)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from None


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    # Without defaults: those are of `ServeOptions` and `BatchingOptions`, which a parser need not import.
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--batching", action="store_true", help="put requests together that come at the same time")
    parser.add_argument(
        "--label",
        type=_label,
        metavar="NAME=VERSION",
        action="append",
        default=[],
        help="a name for a version that is served",
    )
    parser.add_argument(
        "--timeout", dest="rest_timeout", type=positive, metavar="SECONDS", help="of a REST request (default: 30)"
    )
    for flag, kind, told in (
        ("--latest", positive, "newest versions that are served (default: 1)"),
        ("--rest-port", _port, "0 takes a free one (default: 8501)"),
        ("--grpc-port", _port, "0 takes a free one (default: 8500)"),
        ("--threads", positive, "requests, or batches, computed at once (default: 2)"),
        ("--max-request-bytes", positive, "larger ones are refused (default: 8388608)"),
        ("--max-rows", positive, "of a request, with --batching at most those of a batch (default: 1024)"),
        ("--max-batch-size", positive, "rows of a batch (default: 16)"),
        ("--batch-timeout-micros", _whole, "wait for a batch (default: 2000)"),
        ("--max-enqueued-batches", positive, "more are refused at once (default: 256)"),
    ):
        parser.add_argument(flag, type=kind, metavar="N", help=told)


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, got {text}")
    return int(text)


def _label(text: str) -> tuple[str, int]:
    name, _, version = text.partition("=")
    if not name or not version.isdecimal():
        raise argparse.ArgumentTypeError(f"expected NAME=VERSION, the version a whole number, got {text}")
    return name, int(version)


def _serve(arguments: argparse.Namespace) -> None:
    def given(*names: str) -> dict[str, Any]:
        """The options of these names that were given."""
        return {name: value for name in names if (value := getattr(arguments, name)) is not None}

    batching = given("max_batch_size", "batch_timeout_micros", "max_enqueued_batches")
    if batching and not arguments.batching:
        raise UsageError(f"--{next(iter(batching)).replace('_', '-')}: expected --batching with it")
    names = [name for name, _ in arguments.label]
    if len(set(names)) < len(names):
        raise UsageError(f"--label: expected each name once, got {', '.join(names)}")
    base_dir, artifact = _served(arguments)
    base_dir = base_dir.resolve()
    load_tensorflow()
    from pipeline.serve_model import serve_model
    from serving.server.batching import BatchingOptions
    from serving.server.library import Model
    from serving.server.serve import ServeOptions

    if arguments.threads is not None:
        batching["num_batch_threads"] = arguments.threads
    model = Model(name=base_dir.name, base_dir=base_dir, labels=dict(arguments.label), **given("latest"))
    options = given("host", "rest_port", "grpc_port", "rest_timeout", "max_request_bytes", "max_rows", "threads")
    with artifacts.reading(artifact) if artifact else nullcontext():
        serve_model(
            ServeOptions(
                models=(model,), batching=BatchingOptions(**batching) if arguments.batching else None, **options
            )
        )


def _served(arguments: argparse.Namespace) -> tuple[Path, artifacts.Artifact | None]:
    """The folder of the versions: CONFIG itself, where it is one; where they are pushed to; or the last export's.

    An export is an artifact, which is read as long as it is served.

    Raises:
        UsageError: nothing was exported; the message has the command that does it.
    """
    folder = Path(arguments.config).expanduser()
    if arguments.config not in presets() and folder.is_dir():
        if arguments.overrides or arguments.root:
            raise UsageError(f"{arguments.config}: a folder of versions: expected neither --set nor --root with it")
        return folder, None
    config, root = configuration(arguments)
    if config.serving.push_to is not None:
        return Path(config.serving.push_to, config.name), None
    states = {state.component: state for state in inspect(build(config), root)}
    artifact = states["Exporter"].artifact
    if artifact is None or states["Exporter"].state == "outdated":
        command = shlex.join(["heliograph", "export", *repeated(arguments)])
        raise UsageError(f"{root}: no SavedModel of this configuration; make one: {command}")
    return artifact.path / config.name, artifact


SERVING_COMMANDS = {
    "push": Command(
        summary="publish the validated SavedModel in serving.push_to, and what that needs",
        example="heliograph push my.toml --set serving.push_to=/srv/models",
        execute=_push,
        takes_beam_args=True,
    ),
    "rollback": Command(
        summary="publish an older version again, as the newest: servers go back to it",
        example="heliograph rollback /srv/models/my",
        execute=_rollback,
        add_arguments=_add_rollback_arguments,
        takes_config=False,
    ),
    "serve": Command(
        summary="a stand-in for TF Serving on this machine: its REST and gRPC interface, for development; CONFIG may "
        "also be the folder of a model's versions",
        example="heliograph serve my.toml --batching",
        execute=_serve,
        add_arguments=_add_serve_arguments,
    ),
    "validate": Command(
        summary="prove that a SavedModel loads and answers outside this code: its files, a clean process, C++",
        example="heliograph validate runs/dates/Exporter/ID/dates",
        execute=_validate,
        add_arguments=_add_validate_arguments,
        takes_config=False,
    ),
    "translate-corpus": Command(
        summary="whole corpora, shard by shard on Beam; what is there already is not translated again",
        example="heliograph translate-corpus /srv/models/my 'corpus/*.txt.gz' translated -- --direct_num_workers=2",
        execute=_translate_corpus,
        add_arguments=_add_corpus_arguments,
        takes_config=False,
        takes_beam_args=True,
    ),
}
"""Every such command by name, in the order of the help."""
