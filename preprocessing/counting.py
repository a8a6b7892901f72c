"""How often each token occurs, and which are the most frequent: on Beam, never all of them in one process."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection

from preprocessing.text import TextConfig, normalize, tokenize
from preprocessing.vocabulary import TokenCount

BATCH = {"min_batch_size": 64, "max_batch_size": 1024}
"""Sentences per call into TensorFlow: enough to hide the cost of a call, few enough to hold in memory."""


class CountTokens(beam.PTransform[PCollection[str], PCollection[TokenCount]]):
    """Counts the tokens of texts, or the words that subwords are learned from: str -> (token, count), each once.

    Args:
      config: how a text becomes tokens.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, texts: PCollection[str]) -> PCollection[TokenCount]:
        """Counts within batches first, so that few pairs travel."""
        counts: PCollection[TokenCount] = (
            texts
            | "Batch" >> beam.BatchElements(**BATCH)
            | "CountBatch" >> beam.ParDo(_CountBatch(self._config)).with_output_types(TokenCount)
            | "Sum" >> beam.CombinePerKey(sum)
        )
        return counts


class _CountBatch(beam.DoFn):
    """One call into TensorFlow per batch. Counter: ``tokens_counted``."""

    def __init__(self, config: TextConfig) -> None:
        self._config = config
        self._counted = Metrics.counter(__name__, "tokens_counted")

    def setup(self) -> None:
        config = self._config

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def tokens_of(texts: tf.Tensor) -> tf.Tensor:
            return tokenize(normalize(texts, config), config.unit).values  # Flat: whose token it was does not matter.

        self._tokens_of = tokens_of

    def process(self, texts: Sequence[str]) -> Iterator[TokenCount]:
        counts = Counter(self._tokens_of(tf.constant(texts, tf.string)).numpy().tolist())
        self._counted.inc(counts.total())
        for token, count in counts.items():
            yield token.decode(), count


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
