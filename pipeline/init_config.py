"""`heliograph init`: looks at a person's files and writes a configuration that says why its sizes are what they are."""

import argparse
import logging
import textwrap
from collections.abc import Iterator, Sequence

import tomli_w

from pipeline.errors import UsageError
from pipeline.recommend import Choice, Sections, caution, recommend
from preprocessing.survey import SideSurvey, Survey, survey
from preprocessing.wording import counted

_WIDTH = 100

_log = logging.getLogger("heliograph.init")


def add_init_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the files."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="SOURCE TARGET, line-aligned text, or a file of lines source<TAB>target; .gz, .bz2, .zst or plain",
    )


def init(arguments: argparse.Namespace) -> None:
    """Prints the configuration; a summary in two lines, what is to be feared and the next command go to the log.

    Raises:
        UsageError: Neither one file nor two are named.
        DataError: They cannot be used.
    """
    from preprocessing.corpora import FilePairs, Tsv  # here, because it loads Beam

    files: list[str] = arguments.files
    if len(files) > 2:
        raise UsageError(f"init: expected SOURCE and TARGET, or one file of two columns, got {len(files)} files")
    found = survey(FilePairs(files[0], files[1]) if len(files) == 2 else Tsv(files[0]))
    sections = recommend(found)
    print(toml(files, found, sections), end="")
    _log.info("%s", summary(found))
    model = {choice.key: choice.value for choice in sections["model"]}
    training = {choice.key: choice.value for choice in sections["training"]}
    _log.info(
        "%s of %d units, %d epochs of batches of %d",
        model["architecture"],
        model["hidden_size"],
        training["epochs"],
        training["batch_size"],
    )
    warning = caution(found.pairs)
    if warning is not None:
        _log.warning("%s", warning)
    _log.info("next, if this goes to my.toml: heliograph run my.toml")


def summary(found: Survey) -> str:
    """The corpus in one line."""
    return f"{counted(found.pairs, 'pair')}; source: {_side(found.source)}; target: {_side(found.target)}"


def _side(side: SideSurvey) -> str:
    script = f", {side.script}" if side.script else ""
    return f"{side.mean_words:.1f} words, {side.mean_characters:.0f} characters{script}"


def toml(files: Sequence[str], found: Survey, sections: Sections) -> str:
    """The commented configuration."""
    names = ("source", "target") if len(files) == 2 else ("tsv",)
    paths = [Choice(name, path) for name, path in zip(names, files, strict=True)]
    looked = "" if found.sampled == found.pairs else f" (lengths and letters: of the first {found.sampled:,})"
    head = (
        f"{summary(found)}{looked}. Written by heliograph init. The sizes follow presets that were measured (see the "
        "tables of the README), scaled to this corpus. Relative paths start from the folder of this file. Every key is "
        "documented in pipeline/*config.py; what is left out has its default."
    )
    sections = {"data": [*paths, *sections["data"]]} | {name: part for name, part in sections.items() if name != "data"}
    warning = caution(found.pairs)
    blocks = [_comment(head), *([_comment(f"{warning}.")] if warning is not None else [])]
    for name, choices in sections.items():
        lines = [f"[{name}]", *(line for choice in choices for line in _lines(choice))]
        if name == "training":
            lines.append('# precision = "bfloat16"  # faster where the processor has it: AVX512-BF16, AMX, GPUs')
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _lines(choice: Choice) -> Iterator[str]:
    """A key with its reason behind it, or above it if that is long."""
    line = tomli_w.dumps({choice.key: choice.value}).strip()
    if "\n" in line:
        line = f"{choice.key} = [{', '.join(part.strip().rstrip(',') for part in line.splitlines()[1:-1])}]"
    if not choice.why:
        yield line
    elif len(line) + len(choice.why) + 3 <= _WIDTH:
        yield f"{line} # {choice.why}"
    else:
        yield _comment(choice.why)
        yield line


def _comment(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False))
