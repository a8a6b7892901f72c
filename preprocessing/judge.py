"""The Beam steps that decide on pairs; the decisions are in `filters`, `splits`, `duplicates` and `weights`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf

from preprocessing import tally
from preprocessing.corpora import Split
from preprocessing.filters import DATA_ERRORS, FilterOptions, Reason, empty_reason, encoding_reason, length_reason
from preprocessing.reading import Pair
from preprocessing.text import TextConfig, length, normalize
from preprocessing.weights import copies_of, repeat


class JudgePairs(beam.DoFn):
    """Normalises batches of pairs, chooses their splits, and drops what a look at one pair tells to drop.

    Args:
      source_text: how sources are normalised and tokenised.
      target_text: likewise for targets.
      filters: what is dropped from the training split.
      choose_split: gives the split of a normalised source, for pairs whose split is not given.
    """

    def __init__(
        self,
        source_text: TextConfig,
        target_text: TextConfig,
        filters: FilterOptions,
        choose_split: Callable[[bytes], Split],
    ) -> None:
        """Holds the configuration, which is pickled; `setup` builds the graphs."""
        self._texts = (source_text, target_text)
        self._filters = filters
        self._choose_split = choose_split

    def setup(self) -> None:
        """Traces the graphs once per worker: string [B] -> string [B], and string [B] -> int64 [B]."""
        batch = [tf.TensorSpec([None], tf.string)]
        self._normalize = [
            tf.function(lambda text, config=config: normalize(text, config), input_signature=batch)
            for config in self._texts
        ]
        self._lengths = [
            tf.function(lambda text, unit=config.unit: length(text, unit), input_signature=batch)
            for config in self._texts
        ]

    def process(self, element: Sequence[Pair]) -> Iterator[Pair | tally.Noted]:
        """Yields the pairs that stay, normalised and with a split; entries for the others."""
        readable = []
        for pair in element:
            reason = encoding_reason(pair.source, pair.target)
            if reason is None:
                readable.append(pair)
            else:
                yield _drop(pair, reason)
        if not readable:
            return
        sources = _on_batch(self._normalize[0], [pair.source for pair in readable])
        targets = _on_batch(self._normalize[1], [pair.target for pair in readable])
        for pair, source, target, reason in zip(
            readable, sources, targets, self._reasons(sources, targets), strict=True
        ):
            split = pair.split or self._choose_split(source)
            # A split that was given for evaluation is what is to be measured: only an empty side makes a pair useless.
            if reason is None or (pair.split in ("validation", "test") and reason not in DATA_ERRORS):
                yield pair._replace(split=split, source=source, target=target)
            else:
                yield _drop(pair, reason)

    def _reasons(self, sources: list[bytes], targets: list[bytes]) -> Iterator[Reason | None]:
        lengths: Iterable[tuple[int, int]] = [(1, 1)] * len(sources)
        if self._filters.needs_lengths:
            lengths = zip(_on_batch(self._lengths[0], sources), _on_batch(self._lengths[1], targets), strict=True)
        for source, target, (source_length, target_length) in zip(sources, targets, lengths, strict=True):
            yield empty_reason(source, target) or length_reason(source_length, target_length, self._filters)


class JudgeGroups(beam.DoFn):
    """Drops pairs by a look at all that share a key.

    Args:
      judge: gives each pair of a group with the reason to drop it or None, such as `splits.settle`.
    """

    def __init__(self, judge: Callable[[Iterable[Pair]], Iterator[tuple[Pair, Reason | None]]]) -> None:
        """Holds the function, which is pickled by name."""
        self._judge = judge

    def process(self, element: tuple[bytes, Iterable[Pair]]) -> Iterator[Pair | tally.Noted]:
        """Yields the pairs that stay; entries for the others."""
        for pair, reason in self._judge(element[1]):
            yield pair if reason is None else _drop(pair, reason)


class WeighPairs(beam.DoFn):
    """Repeats training pairs as their weights say; what comes out is written, and counted as kept."""

    def __init__(self) -> None:
        """Takes nothing; typed, unlike the one it would inherit."""

    def process(self, element: Pair) -> Iterator[Pair | tally.Noted]:
        """Yields the pair as often as it is kept; entries."""
        copies = copies_of(element)
        if not copies:
            yield _drop(element, Reason.WEIGHT)
            return
        yield from repeat(element, copies)
        yield tally.note(tally.kept(str(element.split), copies))
        if copies > 1:
            yield tally.note(tally.repeated(copies - 1))


def _on_batch(graph: Callable[[tf.Tensor], tf.Tensor], texts: list[bytes]) -> list[Any]:
    values: list[Any] = graph(tf.constant(texts, tf.string)).numpy().tolist()
    return values


def _drop(pair: Pair, reason: Reason) -> tally.Noted:
    return tally.note(tally.dropped(reason, pair.key, pair.file, pair.line, pair.source, pair.target))
