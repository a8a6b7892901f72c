"""What the commands do that tell of runs and tidy up after them: plan, lineage, diff, clean."""

import argparse
import json
from pathlib import Path

from pipeline import artifacts, lineage
from pipeline.clean import Verdict, clean
from pipeline.commands import Command, add_choice, add_common_arguments, chosen, configuration, local_root
from pipeline.component import needed
from pipeline.components import DEFAULTS, build
from pipeline.diff import differences, of_lineage, of_root
from pipeline.errors import UsageError
from pipeline.lineage import Node
from pipeline.lineage_tree import tree
from pipeline.plan import inspect, lines
from preprocessing.wording import counted

_CONFIG_FILE = "config.toml"
"""What a run writes into its root."""


def _plan(arguments: argparse.Namespace) -> None:
    config, root = configuration(arguments)
    components = build(config)
    until, rerun = chosen(components, arguments)
    wanted = components if until is None else needed(components, until)
    print("\n".join(lines(inspect(wanted, root, rerun))))


def _add_roots(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", metavar="DIR", help="folder of a run, to look in (default: all in runs)")


def _roots(arguments: argparse.Namespace) -> list[Path]:
    if arguments.root:
        return [local_root(arguments.root).absolute()]
    return sorted(path.absolute() for path in Path("runs").glob("*/") if path.is_dir())


def _add_lineage_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "artifact",
        metavar="ARTIFACT",
        help="the folder of an artifact or of a published version, or an artifact's id or the beginning of one",
    )
    parser.add_argument("--json", action="store_true", help="everything that is known, for a program")
    _add_roots(parser)


def _lineage(arguments: argparse.Namespace) -> None:
    found = lineage.resolve(arguments.artifact, _roots(arguments))
    if arguments.json:
        print(json.dumps(found.document(), indent=2, ensure_ascii=False))
    else:
        print(tree(found, {name: section.model_dump() for name, section in DEFAULTS.items()}))


def _add_diff_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("one", "other"):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help="the folder of a run (the newest artifact of each component), or what `heliograph lineage` takes",
        )
    _add_roots(parser)


def _diff(arguments: argparse.Namespace) -> None:
    roots = _roots(arguments)
    found = differences(_side(arguments.one, roots), _side(arguments.other, roots))
    print("\n".join(found) if found else "no differences")


def _side(name: str, roots: list[Path]) -> dict[str, Node]:
    if _is_root(Path(name)):
        return of_root(Path(name).absolute())
    return of_lineage(lineage.resolve(name, roots))


def _is_root(folder: Path) -> bool:
    return (folder / _CONFIG_FILE).is_file() or any(folder.glob(f"*/*/{artifacts.MANIFEST}"))


def _add_clean_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="a TOML file or a preset; not needed with --root")
    parser.add_argument(
        "--outdated", action="store_true", help="also artifacts, and interrupted trainings, that CONFIG does not use"
    )
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, only say what would be")
    add_common_arguments(parser)


def _clean(arguments: argparse.Namespace) -> None:
    used, servable = None, None
    if arguments.config is not None:
        config, root = configuration(arguments)
        if config.serving.push_to is not None:
            servable = Path(config.serving.push_to, config.name)
        if arguments.outdated:
            used = {artifact_id for state in inspect(build(config), root) for artifact_id in state.ids}
    elif arguments.outdated or arguments.overrides:
        raise UsageError("--outdated and --set: expected a CONFIG, which says what is used, got none")
    elif not arguments.root:
        raise UsageError("expected a CONFIG or --root DIR, got neither; see heliograph clean --help")
    else:
        root = local_root(arguments.root)
    if not _is_root(root):
        raise UsageError(f"{root}: expected the folder of a run, with its {_CONFIG_FILE} or artifacts in it")
    verdicts = clean(root.absolute(), arguments.dry_run, used, servable)
    print("\n".join(_told(verdicts, root.absolute(), arguments.dry_run)))


def _told(verdicts: list[Verdict], root: Path, dry_run: bool) -> list[str]:
    action = "would remove" if dry_run else "removed"
    rows = []
    for verdict in verdicts:
        where = verdict.path.relative_to(root) if verdict.path.is_relative_to(root) else verdict.path
        rows.append(
            f"{action if verdict.removed else 'kept'}  {where}  {counted(verdict.bytes, 'byte')}: {verdict.why}"
        )
    removed = [verdict.bytes for verdict in verdicts if verdict.removed]
    return [
        *rows,
        f"{action} {counted(len(removed), 'file or folder', 'files and folders')}, {counted(sum(removed), 'byte')}",
    ]


LINEAGE_COMMANDS = {
    "plan": Command(
        summary="what `heliograph run` would execute, what is up to date, and why; executes nothing",
        example="heliograph plan my.toml --set training.epochs=20",
        execute=_plan,
        add_arguments=add_choice,
        takes_beam_args=True,
    ),
    "lineage": Command(
        summary="what stands behind an artifact or a published version: data, code, parameters, metrics",
        example="heliograph lineage /srv/models/my/3 --root runs/my",
        execute=_lineage,
        add_arguments=_add_lineage_arguments,
        takes_config=False,
    ),
    "diff": Command(
        summary="what changed between two runs or artifacts: parameters, files, code, versions, metrics",
        example="heliograph diff runs/my runs/other",
        execute=_diff,
        add_arguments=_add_diff_arguments,
        takes_config=False,
    ),
    "clean": Command(
        summary="remove what killed runs left; nothing that a running process has",
        example="heliograph clean my.toml --outdated --dry-run",
        execute=_clean,
        add_arguments=_add_clean_arguments,
        takes_config=False,
        takes_beam_args=True,  # what killed runs staged may lie elsewhere
    ),
}
"""Every such command by name, in the order of the help."""
