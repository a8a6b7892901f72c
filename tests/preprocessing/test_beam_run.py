"""How pipelines start: strict options, counters, and a worker's error as the person should read it."""

import logging
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import S3Options, StandardOptions

from preprocessing.beam_run import pipeline_options, run, use_file_systems
from preprocessing.errors import DataError
from preprocessing.file_patterns import file_systems


class Refuse(beam.DoFn):
    """Counts what it sees and refuses "bad"."""

    def __init__(self) -> None:
        self._seen = beam.metrics.Metrics.counter(__name__, "seen")

    def process(self, element: str) -> Iterator[str]:
        self._seen.inc()
        if element == "bad":
            raise DataError("file x, line 3: expected good, found bad; remove it")
        yield element


def test_run_returns_counters():
    assert run(lambda pipeline: pipeline | beam.Create(["a", "b"]) | beam.ParDo(Refuse())) == {"seen": 2}


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_a_workers_data_error_arrives_as_one_line(mode):
    with pytest.raises(DataError) as caught:
        run(lambda pipeline: pipeline | beam.Create(["bad"]) | beam.ParDo(Refuse()), [f"--direct_running_mode={mode}"])
    assert str(caught.value) == "file x, line 3: expected good, found bad; remove it"


def test_another_error_is_passed_on():
    with pytest.raises(Exception, match="division"):
        run(lambda pipeline: pipeline | beam.Create([0]) | beam.Map(lambda number: 1 / number))


def test_the_default_runner_downloads_nothing():
    assert pipeline_options([]).view_as(StandardOptions).runner == "FnApiRunner"
    assert pipeline_options(["--runner=FlinkRunner"]).view_as(StandardOptions).runner == "FlinkRunner"
    assert pipeline_options(["--runner", "SparkRunner"]).view_as(StandardOptions).runner == "SparkRunner"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--direct_num_wokers=4", "--foo"], r"--direct_num_wokers, --foo"),
        (["stray"], "'stray'"),
        (["--direct_num_workers=many"], "direct_num_workers.*many"),
        (["--runner=Horse"], "--runner.*Horse"),
    ],
)
def test_a_wrong_option_is_named(arguments, message, capfd):
    with pytest.raises(DataError, match=message) as caught:
        run(lambda pipeline: pipeline | beam.Create([1]), arguments)
    assert "\n" not in str(caught.value)
    assert "usage" not in capfd.readouterr().err


def test_file_systems_have_options_without_a_pipeline(monkeypatch):
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    assert file_systems()._pipeline_options.view_as(S3Options).s3_endpoint_url is None
    use_file_systems(["--s3_endpoint_url=http://127.0.0.1:1"])
    assert file_systems()._pipeline_options.view_as(S3Options).s3_endpoint_url == "http://127.0.0.1:1"
    with pytest.raises(DataError, match="--foo"):
        use_file_systems(["--foo"])


def test_beam_is_quiet():
    run(lambda pipeline: pipeline | beam.Create([1]))
    assert not logging.getLogger("apache_beam").isEnabledFor(logging.ERROR)
