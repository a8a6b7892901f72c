"""Which tokens a model knows, and under which id: counted on Beam, kept in one text file.

A vocabulary file has one ``token<TAB>count`` a line, and the number of the line (from 0) is the id::

    <pad>	0
    <unk>	0
    <s>	0
    </s>	0
    ￭.	29000
    a	21345

The special tokens come first; the others follow from the most to the least frequent, equal counts in the order of their
UTF-8 bytes, so that the same corpus gives the same file. A token never holds a control character, so neither tab nor
line end needs an escape.
"""

import heapq
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import tensorflow as tf
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection

from preprocessing.errors import DataError
from preprocessing.records import write_whole
from preprocessing.special_tokens import SPECIAL_TOKENS
from preprocessing.text import TextConfig, normalize, tokenize

TokenCount = tuple[str, int]

BATCH = {"min_batch_size": 64, "max_batch_size": 1024}
"""Sentences per call into TensorFlow: enough to hide the cost of a call, few enough to hold in memory."""


SIDES = ("source", "target")
"""The two languages of a pair, as they are called in names of files and fields."""


def vocabulary_file(directory: str | os.PathLike[str], side: str) -> str:
    """The path of a side's vocabulary among the outputs of Transform."""
    return os.path.join(directory, f"{side}.vocabulary.tsv")


def read_vocabulary(path: str) -> list[str]:
    """Reads the tokens of a vocabulary file in the order of their ids, the special tokens first.

    Raises:
      DataError: the file is missing or malformed, repeats a token, or has no token but the special ones.
    """
    tokens: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(_lines(path), start=1):
        token, tab, count = line.partition("\t")
        if not (token and tab and count.isascii() and count.isdigit()):
            raise DataError(
                f"{path}, line {number}: expected token<TAB>count, found {line[:80]!r}; write the file again"
            )
        if token in seen:
            raise DataError(f"{path}, line {number}: token {token!r} stands there twice; remove one, or write it again")
        seen.add(token)
        tokens.append(token)
    if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
        found = tokens[: len(SPECIAL_TOKENS)]
        raise DataError(f"{path}: expected the first lines to be {SPECIAL_TOKENS}, found {found}; write the file again")
    if len(tokens) == len(SPECIAL_TOKENS):
        raise DataError(
            f"{path}: expected at least one token besides the special ones, found none; "
            "the training corpus is empty, or the minimum count is above every token's"
        )
    return tokens


def _lines(path: str) -> list[str]:
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            text = file.read().decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected UTF-8, found a broken byte at {error.start}; write the file again"
        ) from error
    except (OSError, BeamIOError) as error:
        raise DataError(f"{path}: the vocabulary cannot be read; run Transform, or check the path") from error
    # Not splitlines(), which would also split at U+2028 and its like.
    return text.removesuffix("\n").split("\n")


def write_vocabulary(path: str, counts: Iterable[TokenCount]) -> None:
    """Writes a vocabulary file: the special tokens, then `counts` by falling count, equal ones by their UTF-8 bytes.

    Args:
      path: where the file appears.
      counts: ordinary tokens and how often each was seen.

    Raises:
      DataError: there is no token, one would not survive in the file, or the file cannot be written.
    """
    ordered = sorted(counts, key=_rank)
    if not ordered:
        raise DataError(
            f"{path}: expected at least one token, found none; "
            "the training corpus is empty, or the minimum count is above every token's"
        )
    for token, _ in ordered:
        if not token or token in SPECIAL_TOKENS or "\t" in token or "\n" in token:
            raise DataError(
                f"{path}: {token!r} cannot be an ordinary token (special, empty, or holds a tab or line end)"
            )
    lines = [f"{token}\t{count}\n" for token, count in [*((special, 0) for special in SPECIAL_TOKENS), *ordered]]
    write_whole(path, lambda file: file.write("".join(lines).encode()))


def _rank(entry: TokenCount) -> tuple[int, bytes]:
    return -entry[1], entry[0].encode()


class CountTokens(beam.PTransform[PCollection[str], PCollection[TokenCount]]):
    """Counts the tokens of texts: str -> (token, count), each token once.

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
        return heapq.nsmallest(self._max_size, accumulator, key=lambda entry: (-entry[1], entry[0]))

    def extract_output(self, accumulator: list[tuple[bytes, int]]) -> list[TokenCount]:
        """From the most to the least frequent token."""
        ordered = sorted(self.compact(accumulator), key=lambda entry: (-entry[1], entry[0]))
        return [(token.decode(), count) for token, count in ordered]
