"""How a Beam pipeline of ours is started, and what it reports when it is done.

`FnApiRunner` is named explicitly unless the options name another one: `DirectRunner` would first try Prism, which
downloads a binary from the network.
"""

import contextlib
import io
import logging
import re
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from preprocessing.errors import DataError

DEFAULT_RUNNER = "FnApiRunner"

_DATA_ERROR = re.compile(
    rf"{re.escape(DataError.__module__)}\.{DataError.__name__}: (.*?)(?: \[while running .*)?$", re.M
)


def run(build: Callable[[beam.Pipeline], object], beam_args: Sequence[str] = ()) -> dict[str, int]:
    """Builds a pipeline, runs it to its end and returns its counters.

    Example: ``run(lambda pipeline: pipeline | beam.Create(["a"]) | CountWords(), ["--runner=FlinkRunner"])``.

    Args:
      build: adds the transforms to the pipeline; what it returns is ignored. Everything it names has to live in an
        importable module, so that workers in other processes find it.
      beam_args: Beam options as on a command line, such as ``--direct_num_workers=4``.

    Returns:
      Counter name to its value, summed over the steps that count under that name. A counter nobody incremented is
      absent.

    Raises:
      DataError: an option is unknown or has a value Beam refuses, or a worker raised a DataError.
    """
    # A worker's failure reaches the person as the exception below; Beam's log would print it three times more.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    options = pipeline_options(beam_args)
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:
        raise DataError(f"Beam option --runner: {error}") from error
    build(pipeline)
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except Exception as error:
        # Beam adds its own words to a worker's exception, or passes on nothing but the text of its traceback.
        told = _DATA_ERROR.findall(f"{type(error).__module__}.{type(error).__name__}: {error}")
        if told:
            raise DataError(told[-1]) from error
        raise
    return _counters(result)


def pipeline_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Parses Beam options strictly; `FnApiRunner` is the runner unless ``--runner`` says otherwise.

    Raises:
      DataError: an option is unknown to Beam (which by itself only ignores it), or its value is refused.
    """
    arguments = list(beam_args)
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        if not argument.startswith("--") and ("=" in previous or not previous.startswith("--")):
            raise DataError(f"Beam option {argument!r}: expected --name=value after the --; remove it or write it so")
    complaint = io.StringIO()
    try:
        # argparse, underneath, prints its usage and exits.
        with contextlib.redirect_stderr(complaint):
            options = PipelineOptions(arguments)
            unknown = set(options.get_all_options(retain_unknown_options=True)) - set(options.get_all_options())
    except (SystemExit, ValueError) as error:
        reason = (complaint.getvalue().strip() or str(error)).splitlines()[-1].removeprefix("usage: ")
        raise DataError(f"Beam refuses the options {' '.join(arguments)}: {reason}") from error
    if unknown:
        names = ", ".join(f"--{name}" for name in sorted(unknown))
        raise DataError(f"Beam does not know the option {names}; check its spelling in Beam's PipelineOptions")
    standard = options.view_as(StandardOptions)
    standard.runner = standard.runner or DEFAULT_RUNNER
    return options


def use_file_systems(beam_args: Sequence[str]) -> None:
    """Gives Beam's file systems their options, such as keys and addresses, as a pipeline does once it is made.

    Raises:
      DataError: as `pipeline_options`.
    """
    FileSystems.set_options(pipeline_options(beam_args))


def _counters(result: beam.runners.runner.PipelineResult) -> dict[str, int]:
    totals: dict[str, int] = {}
    for counter in result.metrics().query()["counters"]:
        name = counter.key.metric.name
        totals[name] = totals.get(name, 0) + int(counter.result)
    return dict(sorted(totals.items()))
