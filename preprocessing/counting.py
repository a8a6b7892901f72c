"""How often each token occurs, and which are the most frequent: on Beam, never all of them in one process."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.coders import VarIntCoder
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindows

from preprocessing.grouping import GroupThroughFiles
from preprocessing.text import TextConfig, tokenize
from preprocessing.vocabulary import TokenCount

BATCH = 1024
"""Sentences per call into TensorFlow: enough to hide the cost of a call, few enough to hold in memory."""

HELD_TOKENS = 200_000
"""How many different tokens a worker counts before it passes its counts on."""


class CountTokens(beam.PTransform[PCollection[Sequence[str]], PCollection[TokenCount]]):
    """Counts the tokens of texts, or the words that subwords are learned from, in batches -> (token, count), each once.

    Args:
      config: how a normalised text becomes tokens.
      folder: where counts are kept on their way; see `preprocessing.grouping`.
      buckets: over how many tasks the sums are spread.
      held_tokens: how many different tokens a worker counts in memory.
    """

    def __init__(self, config: TextConfig, folder: str, buckets: int, held_tokens: int = HELD_TOKENS) -> None:
        super().__init__()
        self._count = _CountBatches(config, held_tokens)
        self._group = GroupThroughFiles(folder, buckets, VarIntCoder())

    def expand(self, batches: PCollection[Sequence[str]]) -> PCollection[TokenCount]:
        """Counts on each worker first, so that few counts travel."""
        counts: PCollection[TokenCount] = (
            batches
            | "CountBatches" >> beam.ParDo(self._count).with_output_types(tuple[bytes, int])
            | "Group" >> self._group
            | "Sum" >> beam.MapTuple(lambda token, counts: (token.decode(), sum(counts))).with_output_types(TokenCount)
        )
        return counts


class _CountBatches(beam.DoFn):
    """One call into TensorFlow per batch. Counter: ``tokens_counted``."""

    def __init__(self, config: TextConfig, held_tokens: int) -> None:
        self._config = config
        self._held_tokens = held_tokens
        self._counted = Metrics.counter(__name__, "tokens_counted")

    def setup(self) -> None:
        unit = self._config.unit

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def tokens_of(texts: tf.Tensor) -> tf.Tensor:
            return tokenize(texts, unit).values  # Flat: whose token it was does not matter.

        self._tokens_of = tokens_of

    def start_bundle(self) -> None:
        self._counts: Counter[bytes] = Counter()

    def process(self, texts: Sequence[str]) -> Iterator[tuple[bytes, int]]:
        tokens = self._tokens_of(tf.constant(texts, tf.string)).numpy().tolist()
        self._counted.inc(len(tokens))
        self._counts.update(tokens)
        if len(self._counts) >= self._held_tokens:
            yield from self._pass_on()

    def finish_bundle(self) -> Iterator[Any]:
        yield from map(GlobalWindows.windowed_value, self._pass_on())

    def _pass_on(self) -> Iterable[tuple[bytes, int]]:
        counts, self._counts = self._counts, Counter()
        return counts.items()


class TopTokens(beam.PTransform[PCollection[TokenCount], PCollection[list[TokenCount]]]):
    """Keeps the most frequent tokens: (token, count) -> one list, from the most to the least frequent.

    Args:
      max_size: how many tokens to keep at most, special tokens not counted; `None` keeps all.
      min_count: how often a token has to be seen to be kept.
    """

    def __init__(self, max_size: int | None, min_count: int) -> None:
        super().__init__()
        self._max_size = max_size
        self._min_count = min_count

    def expand(self, counts: PCollection[TokenCount]) -> PCollection[list[TokenCount]]:
        """Drops the rare ones first, where they are."""
        top: PCollection[list[TokenCount]] = (
            counts
            | "DropRare" >> beam.Filter(lambda entry, least: entry[1] >= least, self._min_count)
            | "Top" >> beam.CombineGlobally(TopTokensFn(self._max_size))
        )
        return top


class TopTokensFn(beam.CombineFn):
    """The `max_size` most frequent tokens by a bounded heap; the result does not depend on the order of merging."""

    def __init__(self, max_size: int | None) -> None:
        self._max_size = max_size

    def create_accumulator(self) -> list[tuple[bytes, int]]:
        """An accumulator is a list of (token as UTF-8, count)."""
        return []

    def add_input(self, accumulator: list[tuple[bytes, int]], element: TokenCount) -> list[tuple[bytes, int]]:
        """Appends, and prunes whenever twice the wanted size is reached: amortised O(log) a token."""
        accumulator.append((element[0].encode(), element[1]))
        if self._max_size is not None and len(accumulator) >= 2 * self._max_size + 1024:
            return self.compact(accumulator)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[tuple[bytes, int]]]) -> list[tuple[bytes, int]]:
        """Never holds more than two accumulators' tokens."""
        merged: list[tuple[bytes, int]] = []
        for accumulator in accumulators:
            merged = self.compact([*merged, *accumulator])
        return merged

    def compact(self, accumulator: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        """Keeps only what can still be in the result."""
        if self._max_size is None or len(accumulator) <= self._max_size:
            return accumulator
        return heapq.nsmallest(self._max_size, accumulator, key=_rank)

    def extract_output(self, accumulator: list[tuple[bytes, int]]) -> list[TokenCount]:
        """From the most to the least frequent token."""
        ordered = sorted(self.compact(accumulator), key=_rank)
        return [(token.decode(), count) for token, count in ordered]


def by_frequency(counts: Iterable[TokenCount]) -> list[TokenCount]:
    """From the most to the least frequent token, equal counts in the order of their UTF-8 bytes."""
    return sorted(counts, key=lambda entry: _rank((entry[0].encode(), entry[1])))


def _rank(entry: tuple[bytes, int]) -> tuple[int, bytes]:
    return -entry[1], entry[0]
