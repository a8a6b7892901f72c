"""Lines of text in, lines of text out."""

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import tensorflow as tf

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.model_files import build_translator, load_model
from pipeline.quiet import filtered_stderr
from preprocessing.errors import DataError
from preprocessing.wording import counted
from serving.client import Client, ClientOptions, EndpointError
from serving.translator import Translator
from serving.versions import newest_version

log = logging.getLogger("heliograph.translate")

MAX_LINE_BYTES = 65_536
"""Longest line that is translated: memory and time grow with it, and a sentence is never that long."""

Signature = Callable[..., Mapping[str, tf.Tensor]]


def translate_texts(translate: Signature, sources: Sequence[str], batch_size: int) -> list[str]:
    """The best translation of each text, in order; `translate` has the signature of `Translator.translate`."""
    translations: list[str] = []
    for start in range(0, len(sources), batch_size):
        answer = translate(text=tf.constant(sources[start : start + batch_size], tf.string))
        translations += [text.decode() for text in answer["translation"].numpy()]
    return translations


def trained_translator(
    config: Config,
    transform_dir: Path,
    trainer_dir: Path,
    shortlist_dir: Path | None = None,
    *,
    n_best: int | None = None,
) -> Translator:
    """The trained model with the configured search; asking for more than its beam holds widens the beam."""
    model = load_model(trainer_dir, transform_dir, config.serving.precision)
    if n_best is None:
        return build_translator(config, model, transform_dir, shortlist_dir, frozen=True, max_tokens=0)
    beam_size = max(n_best, config.search.beam_size)
    stop_after = config.search.stop_after and max(n_best, config.search.stop_after)
    return build_translator(
        config,
        model,
        transform_dir,
        shortlist_dir,
        frozen=True,
        beam_size=beam_size,
        n_best=n_best,
        stop_after=stop_after,
        max_tokens=0,
    )


def load_saved_model(directory: Path) -> Any:
    """A SavedModel of a translator, with its signatures in `.signatures`.

    Args:
        directory: a version `NAME/<integer>/`, or `NAME/`, of which the newest version is taken.

    Raises:
        UsageError: there is no SavedModel.
    """
    import tensorflow_text  # noqa: F401  (registers the operations that the graph holds)

    try:
        directory = newest_version(directory)
    except FileNotFoundError as error:
        raise UsageError(f"--model: {error}") from None
    with filtered_stderr():
        loaded = tf.saved_model.load(str(directory))
    absent = {"serving_default", "n_best"} - set(loaded.signatures)
    if absent:
        raise UsageError(
            f"--model: {directory} has no signature {', '.join(sorted(absent))}; was it exported by heliograph?"
        )
    return loaded


def remote_signatures(endpoint: str, batch_size: int) -> dict[str, Signature]:
    """The simplest signature of a server, in the place of a model's.

    Raises:
        UsageError: it is no endpoint.
    """
    try:
        client = Client(endpoint, ClientOptions(batch_size=batch_size))
    except ValueError as error:
        raise UsageError(f"--endpoint: {error}") from None

    def translate(text: tf.Tensor) -> Mapping[str, tf.Tensor]:
        try:
            return {"translation": tf.constant(client.translate([one.decode() for one in text.numpy()]), tf.string)}
        except EndpointError as error:
            raise DataError(str(error)) from None

    return {"serving_default": translate}


def translate_lines(
    signatures: Mapping[str, Signature], source: BinaryIO, sink: TextIO, n_best: int | None, batch_size: int
) -> None:
    r"""Translate line by line; what comes in as one line goes out as one line (or `n_best` lines).

    Args:
        signatures: `serving_default` and `n_best`, a translator's or a SavedModel's.
        source: UTF-8 lines that end at "\n" or "\r\n".
        sink: gets the translations; with `n_best`, lines `NUMBER ||| TRANSLATION ||| SCORE` as Moses writes them, the
            numbers counting from 0.
        n_best: translations per line, or `None` for the best alone.
        batch_size: lines that are translated together; a terminal is answered line by line.

    Raises:
        UsageError: the SavedModel gives fewer translations than `n_best`.
        DataError: a line is longer than `MAX_LINE_BYTES`; the lines of the batches before it are translated.
    """
    broken = truncated = number = 0
    best = _best(signatures)
    for lines in _batches(source, 1 if source.isatty() else batch_size):
        texts = [line.decode(errors="replace") for line in lines]
        broken += sum(text.encode() != line for text, line in zip(texts, lines, strict=True))
        if n_best is None:
            answer = best(text=tf.constant(texts))
            sink.writelines(translation.decode() + "\n" for translation in answer["translation"].numpy())
        else:
            answer = signatures["n_best"](text=tf.constant(texts))
            _check_n_best(n_best, answer["scores"].shape[1])
            for row, scores in zip(answer["translations"].numpy(), answer["scores"].numpy(), strict=True):
                for translation, score in list(zip(row, scores, strict=True))[:n_best]:
                    if np.isfinite(score):  # else there are fewer translations
                        sink.write(f"{number} ||| {translation.decode()} ||| {score:.4f}\n")
                number += 1
        sink.flush()
        truncated += int(np.sum(answer["truncated"])) if "truncated" in answer else 0
    if truncated:
        log.warning(
            "%s longer than the model reads: only the beginning was translated; split what is longer, or export with a "
            "larger search.max_tokens",
            counted(truncated, "line"),
        )
    if broken:
        log.warning("%s with invalid UTF-8: the broken bytes were read as U+FFFD", counted(broken, "line"))


def _best(signatures: Mapping[str, Signature]) -> Signature:
    """The signature of the best translation; `complete` also says what was not read to its end."""
    if "complete" not in signatures:  # a server's answer is the translation alone
        return signatures["serving_default"]
    return lambda text: signatures["complete"](text=text, prefix=tf.fill(tf.shape(text), ""))


def _check_n_best(wanted: int, offered: int) -> None:
    if wanted > offered:
        raise UsageError(
            f"--n-best: the SavedModel was exported with {counted(offered, 'translation')} per text, got {wanted}"
        )


def _batches(source: BinaryIO, size: int) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    for number in itertools.count(1):
        line = source.readline(MAX_LINE_BYTES + 2)
        if not line:
            break
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(line) > MAX_LINE_BYTES:
            raise DataError(
                f"line {number}: expected at most {MAX_LINE_BYTES:,} bytes, got more; split it into sentences"
            )
        lines.append(line)
        if len(lines) == size:
            yield lines
            lines = []
    if lines:
        yield lines
