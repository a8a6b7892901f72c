"""Attention of a few test sentences, as the Evaluator leaves it for the report.

`attention.json` is a list; weights are a row for each target token, a column for each source token:

    [{"translation": "two dogs .", "source_tokens": ["zwei", "hunde", "￭.", "</s>"],
      "target_tokens": ["two", "dogs", "￭.", "</s>"], "weights": [[0.91, 0.05, 0.03, 0.01], ...]}, ...]
"""

import json
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from pipeline.artifacts import write_whole
from pipeline.attention_images import alignments
from serving.translator import Translator

ATTENTION_FILE = "attention.json"

SAMPLES = 4
"""Sentences from all over the test split."""


def write_attention(translator: Translator, sources: Sequence[str], output_dir: Path) -> None:
    """Write `attention.json` for some of the sources; nothing if the network has no attention."""
    if translator.attention is None:
        return
    chosen = sources[:: max(1, len(sources) // SAMPLES)][:SAMPLES]
    answer = {name: values.numpy() for name, values in translator.attention(text=tf.constant(chosen)).items()}
    content = [
        {
            "translation": translation.decode(),
            "source_tokens": list(alignment.source_tokens),
            "target_tokens": list(alignment.target_tokens),
            "weights": [[round(float(weight), 4) for weight in row] for row in alignment.weights],
        }
        for translation, alignment in zip(answer["translation"], alignments(answer), strict=True)
    ]
    write_whole(output_dir / ATTENTION_FILE, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")
