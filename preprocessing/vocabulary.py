"""Which tokens a model knows, and under which id: one text file, and SentencePiece's model beside it.

A vocabulary file has one ``token<TAB>count`` a line, and the number of the line (from 0) is the id::

    <pad>	0
    <unk>	0
    <s>	0
    </s>	0
    ￭.	29000
    a	21345

The special tokens come first. Words, characters and WordPiece's subwords follow from the most to the least frequent,
equal counts in the order of their UTF-8 bytes; SentencePiece's stand in the order of its model, which of BPE is that of
the merges. The same corpus gives the same file. A token never holds a control character, so neither tab nor line
end needs an escape.
"""

import os
from collections.abc import Iterable

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from preprocessing.errors import DataError
from preprocessing.records import write_whole
from preprocessing.special_tokens import SPECIAL_TOKENS
from preprocessing.text import SENTENCEPIECE_UNITS, TextConfig, TextProcessor

TokenCount = tuple[str, int]

SIDES = ("source", "target")
"""The two languages of a pair, as they are called in names of files and fields."""


def vocabulary_file(directory: str | os.PathLike[str], side: str) -> str:
    """The path of a side's vocabulary among the outputs of Transform."""
    return os.path.join(directory, f"{side}.vocabulary.tsv")


def sentencepiece_file(directory: str | os.PathLike[str], side: str) -> str:
    """The path of a side's SentencePiece model, which any tool that reads such models can use."""
    return os.path.join(directory, f"{side}.sentencepiece.model")


def vocabulary_files(directory: str | os.PathLike[str]) -> list[str]:
    """Every file that decides on ids, of both sides: what a model depends on."""
    models = [sentencepiece_file(directory, side) for side in SIDES]
    return [*(vocabulary_file(directory, side) for side in SIDES), *filter(FileSystems.exists, models)]


def read_processor(directory: str | os.PathLike[str], side: str, config: TextConfig) -> TextProcessor:
    """A side's text processing, by the files of its vocabulary.

    Raises:
      DataError: a file is missing or malformed, or the two are not of one vocabulary.
    """
    path = vocabulary_file(directory, side)
    tokens = read_vocabulary(path)
    if config.unit not in SENTENCEPIECE_UNITS:
        return TextProcessor(tokens, config)
    model = read_bytes(sentencepiece_file(directory, side))
    try:
        return TextProcessor(tokens, config, model)
    except ValueError as error:
        raise DataError(f"{path} and its SentencePiece model do not belong together; run Transform again") from error


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
        text = read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected UTF-8, found a broken byte at {error.start}; write the file again"
        ) from error
    # Not splitlines(), which would also split at U+2028 and its like.
    return text.removesuffix("\n").split("\n")


def read_bytes(path: str) -> bytes:
    """Reads one of the files of a vocabulary.

    Raises:
      DataError: it cannot be read.
    """
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            content: bytes = file.read()
    except (OSError, BeamIOError) as error:
        raise DataError(f"{path}: the vocabulary cannot be read; run Transform, or check the path") from error
    return content


def write_vocabulary(path: str, counts: Iterable[TokenCount]) -> None:
    """Writes a vocabulary file: the special tokens, then `counts` as they come.

    Args:
      path: where the file appears.
      counts: ordinary tokens in the order of their ids, and how often each was seen.

    Raises:
      DataError: there is no token, one would not survive in the file, or the file cannot be written.
    """
    entries = list(counts)
    if not entries:
        raise DataError(
            f"{path}: expected at least one token, found none; "
            "the training corpus is empty, or the minimum count is above every token's"
        )
    for token, _ in entries:
        if not token or token in SPECIAL_TOKENS or "\t" in token or "\n" in token:
            raise DataError(
                f"{path}: {token!r} cannot be an ordinary token (special, empty, or holds a tab or line end)"
            )
    lines = [f"{token}\t{count}\n" for token, count in [*((special, 0) for special in SPECIAL_TOKENS), *entries]]
    write_whole(path, lambda file: file.write("".join(lines).encode()))
