"""The command `heliograph`: its arguments, and what its mistakes look like.

Standard output carries results only, standard error progress and errors. Exit codes: 0 done, 1 failed, 2 wrong use,
130 interrupted. A person's mistake is one line without a traceback; a traceback is a bug.
"""

import argparse
import difflib
import importlib.metadata
import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipeline.commands import COMMANDS as MODEL_COMMANDS
from pipeline.commands import Command, add_common_arguments
from pipeline.config_files import presets
from pipeline.errors import UsageError
from pipeline.lineage_commands import LINEAGE_COMMANDS
from pipeline.quiet import logging_to_stderr, set_environment, tensorflow_error
from pipeline.serving_commands import SERVING_COMMANDS
from pipeline.sweep_command import SWEEP_COMMANDS
from preprocessing.errors import DataError

COMMANDS = {**MODEL_COMMANDS, **SWEEP_COMMANDS, **LINEAGE_COMMANDS, **SERVING_COMMANDS}
"""Every command by name, in the order of the help."""

_INTERRUPTED = 130  # 128 + SIGINT, as shells count

_HELP = """usage: heliograph COMMAND CONFIG [--set SECTION.KEY=VALUE]... [--root DIR] [-- BEAM OPTIONS]

Turns parallel text into a translation endpoint on TensorFlow.

commands (heliograph COMMAND --help tells more):
{commands}

CONFIG is a TOML file or a preset: {presets}

example: heliograph run dates
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Arguments without the program's name; default: those of the process.

    Returns:
        The exit code.
    """
    set_environment()
    with logging_to_stderr():
        try:
            _dispatch(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
        except SystemExit as error:  # argparse, after --help
            return int(error.code or 0)
        except KeyboardInterrupt as error:
            _complain("interrupted", str(error))
            return _INTERRUPTED
        except BrokenPipeError:
            # The reader of standard output has enough. Python would complain when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0
        except UsageError as error:
            _complain("error", str(error))
            return 2
        except DataError as error:
            _complain("error", str(error))
            return 1
        except OSError as error:
            _complain("error", _os_error(error))
            return 1
        except Exception as error:
            told = tensorflow_error(error)
            if told is None:
                raise
            _complain("error", told)
            return 1
    return 0


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        lines = "\n".join(f"  {name:<16} {command.summary}" for name, command in COMMANDS.items())
        print(_HELP.format(commands=lines, presets=", ".join(presets())), end="")
        return
    if arguments[0] == "--version":
        print(f"heliograph {_version()}")
        return
    command = COMMANDS.get(arguments[0])
    if command is None:
        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"{arguments[0]}: unknown command; {hint}commands: {', '.join(COMMANDS)}")
    _use_utf8()
    namespace = parse(command, arguments[0], arguments[1:])
    if namespace.beam_args:
        from preprocessing.beam_run import use_file_systems

        # A misspelt option is a mistake even if there is nothing to do, and remote files are asked for at once.
        use_file_systems(namespace.beam_args)
    command.execute(namespace)


def parse(command: Command, name: str, arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of one command; `beam_args` holds what stands after `--`.

    Raises:
        UsageError: Unknown or malformed arguments.
    """
    split = list(arguments).index("--") if "--" in arguments else len(arguments)
    own, beam_args = list(arguments[:split]), list(arguments[split + 1 :])
    if beam_args and not command.takes_beam_args:
        raise UsageError(f"{name} runs no Beam pipeline: expected nothing after --, got {' '.join(beam_args)}")
    beam_help = "; options of Beam may follow after --" if command.takes_beam_args else ""
    parser = _Parser(
        prog=f"heliograph {name}",
        description=command.summary,
        epilog=f"example: {command.example}{beam_help}",
        allow_abbrev=False,
    )
    if command.takes_config:
        parser.add_argument("config", metavar="CONFIG", help=f"a TOML file or a preset: {', '.join(presets())}")
    command.add_arguments(parser)
    if command.takes_config:
        add_common_arguments(parser)
    # Intermixed: on Python 3.11, `translate CONFIG --n-best 3 FILE` would otherwise not find FILE.
    namespace = parser.parse_intermixed_args(own)
    namespace.beam_args = beam_args
    namespace.command_line = shlex.join(["heliograph", name, *arguments])
    return namespace


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def _complain(kind: str, message: str) -> None:
    text = " ".join(message.split())
    print(f"heliograph: {kind}: {text}" if text else f"heliograph: {kind}", file=sys.stderr)


def _os_error(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return str(error) or type(error).__name__
    return f"{error.filename}: {error.strerror}"


def _use_utf8() -> None:
    """Results are UTF-8 with plain line ends, whatever the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="\n")


def _version() -> str:
    try:
        return importlib.metadata.version("heliograph")
    except importlib.metadata.PackageNotFoundError:
        return "(a checkout that is not installed)"
