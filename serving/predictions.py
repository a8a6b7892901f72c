"""Requests and their answers as TF Serving's warm-up file holds them.

TF Serving replays `assets.extra/tf_serving_warmup_requests` when it loads a version: the first requests of a process
are slow, and a request that fails makes the load fail, so that a model which cannot answer is never served. Beside each
request stands the answer of the Python model that was exported; TF Serving does not read it, `serving.validate` does.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from preprocessing.text import TextProcessor
from serving.translator import Translator

Text = str | bytes

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")

LONG = 60
"""Words of the long text."""

ODD = (
    "",
    " \u00a0\t",
    "e\u0301\u202e\u2581\uffed",
    "\U0001f600\U0001f469\u200d\U0001f469\u200d\U0001f467 \u6f22\u5b57\u2028x",
    b"\xff\xfe broken \xed\xa0\x80",
    b"a\x00b",
)
"""Texts that no person types, and that every server gets."""


def warmup_logs(translator: Translator, name: str, examples: Sequence[tuple[str, str]]) -> list[PredictionLog]:
    """For every signature: one short request, a long one, a batch of real texts, odd ones, and none at all.

    Args:
        translator: what answers.
        name: the model's name.
        examples: real pairs of source and target, at least one.

    Raises:
        ValueError: there is no example.
    """
    if not examples:
        raise ValueError("examples must hold at least one pair, got none")

    def cut(source: Text, target: Text) -> tuple[Text, Text]:
        return _as_is_read(translator.source, source, translator), _as_is_read(translator.target, target, translator)

    long = [" ".join(" ".join(side).split(" ")[:LONG]) for side in zip(*examples, strict=True)]
    read = list(itertools.starmap(cut, examples))
    shortest = min(read, key=lambda pair: len(pair[0]))
    batches: list[Sequence[tuple[Text, Text]]] = [
        [shortest],
        [cut(*long)],
        read,
        [cut(odd, odd) for odd in ODD],
        [],
    ]
    return [
        _log(name, signature, function, batch)
        for signature, function in translator.signatures().items()
        for batch in batches
    ]


def _as_is_read(side: TextProcessor, text: Text, translator: Translator) -> Text:
    """A text's beginning that even a model does not refuse which refuses longer texts."""
    most = translator.options.max_tokens
    while most and side.encode(tf.constant([text])).row_lengths()[0] > most:
        text = text[: len(text) // 2]
    return text


def _log(
    name: str,
    signature: str,
    function: tf.types.experimental.GenericFunction,
    batch: Sequence[tuple[Text, Text]],
) -> PredictionLog:
    sources, targets = [source for source, _ in batch], [target for _, target in batch]
    columns: dict[str, Sequence[Any]] = {
        "text": sources,
        "source": sources,
        "target": targets,
        "prefix": [target[: len(target) // 2] for target in targets],
        "seed": range(len(batch)),
        "temperature": [1.0] * len(batch),
        "top_k": [0] * len(batch),
        "top_p": [1.0] * len(batch),
    }
    inputs = {
        spec.name: tf.constant(list(columns[spec.name]), spec.dtype, [len(batch)])
        for spec in function.input_signature or ()
    }
    log = PredictionLog()
    spec = log.predict_log.request.model_spec
    spec.name, spec.signature_name = name, signature
    for key, value in inputs.items():
        log.predict_log.request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    for key, value in function(**inputs).items():
        log.predict_log.response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
    return log


def write_warmup(logs: Sequence[PredictionLog], version: Path) -> None:
    """Write the warm-up file of a version."""
    path = version / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString(deterministic=True))


def read_warmup(version: Path) -> Iterator[PredictionLog]:
    """The records of a version's warm-up file."""
    for record in tf.data.TFRecordDataset(str(version / WARMUP_FILE)):
        yield PredictionLog.FromString(record.numpy())


def difference(expected: np.ndarray, found: np.ndarray) -> str | None:
    """What differs between two answers, or `None`; numbers may differ by rounding."""
    if expected.shape != found.shape:
        return f"shape {list(expected.shape)} became {list(found.shape)}"
    if expected.dtype.kind != "f":
        places = np.argwhere(expected != found)
        if not len(places):
            return None
        place = tuple(places[0])
        return f"{expected[place]!r} became {found[place]!r}, one of {len(places)} differences"
    close = np.isclose(expected, found, rtol=1e-3, atol=1e-3, equal_nan=True)
    return None if close.all() else f"{expected[~close][0]} became {found[~close][0]}"
