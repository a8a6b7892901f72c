"""The systems of the preprocessing benchmark, each a list of stages that are run one after the other in one process.

`python -m tests.benchmarks.preprocessing_stages JOB.json` writes a line of JSON when it is ready, and after each
stage one with the processors' time, that of the processes it started included. Before each stage it waits for a line,
so that whoever measures knows whose memory it sees.
"""

import json
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.process_memory import forget_peak

MIN_COUNT, MAX_SIZE, MAX_LENGTH = 2, 50_000, 100
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")

Stages = dict[str, Callable[[], object]]


def heliograph(job: dict[str, Any]) -> Stages:
    """The real functions: ExampleGen, Transform and StatisticsGen, with words as tokens."""
    from pipeline.quiet import load_tensorflow

    load_tensorflow()
    from preprocessing.corpora import FilePairs
    from preprocessing.filters import FilterOptions
    from preprocessing.generate import GenerateOptions, generate_examples
    from preprocessing.learning import VocabularyOptions
    from preprocessing.statistics import statistics
    from preprocessing.text import TextConfig
    from preprocessing.transform import TransformOptions, transform

    shards, beam_args = job["shards"], job["beam_args"]
    examples, records, described = (os.path.join(job["output"], name) for name in ("examples", "records", "statistics"))
    filters = FilterOptions(max_source_length=MAX_LENGTH, max_target_length=MAX_LENGTH)
    generate = GenerateOptions(filters=filters, validation_fraction=0.01, test_fraction=0.01, shards=shards)
    vocabulary = VocabularyOptions(text=TextConfig(), min_count=MIN_COUNT, max_size=MAX_SIZE)
    options = TransformOptions(source=vocabulary, target=vocabulary)
    Path(described).mkdir(parents=True)
    return {
        "ExampleGen": lambda: generate_examples([FilePairs(*job["corpus"])], generate, examples, beam_args),
        "Transform": lambda: transform(examples, records, options, beam_args),
        "StatisticsGen": lambda: statistics(records, {"files": list(job["corpus"][:1])}, described, beam_args),
    }


def python_loop(job: dict[str, Any]) -> Stages:
    """One process and no Beam: normalise, tokenise by a regular expression, count; again, encode, write TFRecords.

    It writes the same records, but in the order of the corpus, and neither finds broken text nor keeps equal sources
    in one split.
    """
    import tensorflow as tf

    token = re.compile(r"\w+|[^\w\s]")
    output = Path(job["output"])
    vocabularies: list[dict[str, int]] = []

    def pairs() -> Iterator[list[tuple[str, list[str]]]]:
        with open(job["corpus"][0], encoding="utf-8") as source, open(job["corpus"][1], encoding="utf-8") as target:
            for lines in zip(source, target, strict=True):
                texts = [" ".join(unicodedata.normalize("NFKC", line).lower().split()) for line in lines]
                tokens = [token.findall(text) for text in texts]
                if all(1 <= len(found) <= MAX_LENGTH for found in tokens):
                    yield list(zip(texts, tokens, strict=True))

    def count() -> None:
        counts: list[Counter[str]] = [Counter(), Counter()]
        for pair in pairs():
            for side, (_, tokens) in enumerate(pair):
                counts[side].update(tokens)
        vocabularies.extend(map(_vocabulary, counts))

    def encode() -> None:
        output.mkdir()
        files = [output / f"train-{shard:05d}-of-{job['shards']:05d}.tfrecord.gz" for shard in range(job["shards"])]
        writers = [tf.io.TFRecordWriter(str(path), "GZIP") for path in files]
        for number, pair in enumerate(pairs()):
            example = tf.train.Example()
            feature = example.features.feature
            feature["key"].bytes_list.value.append(f"corpus.de:{number}".encode())
            for side, (text, tokens), vocabulary in zip(("source", "target"), pair, vocabularies, strict=True):
                feature[side].bytes_list.value.append(text.encode())
                feature[f"{side}_ids"].int64_list.value.extend([vocabulary.get(one, 1) for one in tokens])
            writers[number % job["shards"]].write(example.SerializeToString(deterministic=True))
        for writer in writers:
            writer.close()

    return {"count": count, "encode": encode}


def fairseq_style(job: dict[str, Any]) -> Stages:
    """As fairseq-preprocess with one worker: text that is tokens already, counted and binarised one line at a time."""
    import numpy as np

    output = Path(job["output"])
    dictionaries: list[dict[str, int]] = []

    def build() -> None:
        for path in job["corpus"]:
            counts: Counter[str] = Counter()
            with open(path, encoding="utf-8") as file:
                for line in file:
                    counts.update(line.split())
            dictionaries.append(_vocabulary(counts))

    def binarise() -> None:
        output.mkdir()
        for side, (path, dictionary) in enumerate(zip(job["corpus"], dictionaries, strict=True)):
            with open(path, encoding="utf-8") as file, open(output / f"{side}.bin", "wb") as binary:
                for line in file:
                    binary.write(np.array([dictionary.get(word, 1) for word in line.split()], np.int32).tobytes())

    return {"vocabulary": build, "binarise": binarise}


def _vocabulary(counts: Counter[str]) -> dict[str, int]:
    kept = [word for word, count in counts.most_common(MAX_SIZE) if count >= MIN_COUNT]
    return {word: number for number, word in enumerate([*SPECIAL, *kept])}


SYSTEMS = {system.__name__: system for system in (heliograph, python_loop, fairseq_style)}


def main() -> None:
    """Waits, does a stage, says so; until all are done."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    stages = SYSTEMS[job["system"]](job)
    print(json.dumps(list(stages)), file=answers, flush=True)
    for stage in stages.values():
        sys.stdin.readline()
        forget_peak()
        before = sum(os.times()[:4])
        stage()
        print(json.dumps({"cpu_seconds": sum(os.times()[:4]) - before}), file=answers, flush=True)


if __name__ == "__main__":
    main()
