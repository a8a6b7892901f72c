"""Duplicates and overlaps, against counting with sets."""

import pickle
import random
from collections import Counter, defaultdict
from itertools import combinations

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.beam_run import run
from preprocessing.examples import Record
from preprocessing.findings import Example, place, shorten
from preprocessing.repeats import OVERLAP, PAIRS, SOURCES, CountRepeats, SumRepeats, _digests, count_per_split

SPLITS = ("train", "validation", "test")


def record(line, source, target):
    return Record(f"00000-a.de:{line:09d}", source, target)


def by_sets(elements):
    """What is to come out: {kind: (count, keys of the examples)}."""
    places = defaultdict(lambda: defaultdict(list))
    for split, item in elements:
        places["source", item.source][split].append(item.key)
        places["pair", item.source, item.target][split].append(item.key)
    counts, keys = Counter(), defaultdict(list)
    for text, splits in places.items():
        for split, found in splits.items():
            if len(found) > 1:
                kind = (SOURCES if text[0] == "source" else PAIRS, split)
                counts[kind] += len(found) - 1
                keys[kind].append(min(found))
        if text[0] == "source":
            for first, second in combinations(sorted(splits), 2):
                counts[OVERLAP, first, second] += 1
                keys[OVERLAP, first, second].append(min(splits[second]))
    return {kind: (count, sorted(keys[kind])[:5]) for kind, count in counts.items()}


def shown(findings):
    return {kind: (found.pairs, [example.key for example in found.examples]) for kind, found in findings.items()}


def merged(combine, elements, chance):
    """What a CombineFn gives if its elements arrive in random order in random parts."""
    combine = pickle.loads(pickle.dumps(combine))
    accumulators = [combine.create_accumulator() for _ in range(chance.randint(1, 4))]
    for element in chance.sample(elements, len(elements)):
        place_ = chance.randrange(len(accumulators))
        accumulators[place_] = combine.add_input(accumulators[place_], element)
    parts = [pickle.loads(pickle.dumps(accumulator)) for accumulator in accumulators]
    return combine.extract_output(combine.merge_accumulators(part for part in parts))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(SPLITS), st.sampled_from("abc"), st.sampled_from("xy"))),
    st.randoms(use_true_random=False),
)
def test_counts_are_those_of_sets_in_any_order(rows, chance):
    elements = [(split, record(line, source, target)) for line, (split, source, target) in enumerate(rows)]
    grouped = defaultdict(list)
    for element in elements:
        for digest, located in _digests(element):
            grouped[digest].append(located)
    counted = [count_per_split((digest, chance.sample(found, len(found)))) for digest, found in grouped.items()]
    assert shown(merged(SumRepeats(), counted, chance)) == by_sets(elements)


def test_on_beam(tmp_path):
    chance = random.Random(1)
    elements = [
        (chance.choice(SPLITS), record(line, chance.choice("abcdefgh") * 100, chance.choice("xy")))
        for line in range(60)
    ]
    expected = by_sets(elements)
    copies = [(split, item._replace(key=f"{item.key}#2")) for split, item in elements]  # by a corpus's weight
    assert {kind[0] for kind in expected} == {PAIRS, SOURCES, OVERLAP}
    run(
        lambda pipeline: assert_that(
            pipeline | beam.Create(elements + copies) | CountRepeats(str(tmp_path), 3) | beam.Map(shown),
            equal_to([expected]),
        )
    )


def test_places_and_shortened_texts():
    assert place("00002-train.de.gz:000000017") == ("train.de.gz", 17)
    assert place("f:7") == place("f:7#2") == ("f", 7)
    assert place("my-file:9") == ("my-file", 9), "what precedes the dash is no number"
    assert place("f:x") == ("f", 0), "no line"
    assert shorten("a" * 80) == "a" * 80 and shorten("a" * 81) == "a" * 79 + "…"
    assert Example("b", "", "") > Example("a", "z", "z")
