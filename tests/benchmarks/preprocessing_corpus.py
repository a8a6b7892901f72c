"""A corpus of any size: Multi30k again and again, with other words each time.

Each copy of the corpus after the first writes a number behind some of its words, `hund` as `hund17`, so that no two
pairs are equal and the vocabulary grows roughly as that of natural text does. The same size gives the same files.
"""

import gzip
import random
from collections.abc import Callable
from pathlib import Path


def write_corpus(data: Path, folder: Path, pairs: int) -> tuple[Path, Path]:
    """Writes so many pairs, line-aligned.

    Args:
        data: folder with `train.de.gz` and `train.en.gz`.
        folder: where `corpus.de` and `corpus.en` are written.
        pairs: how many.
    """
    paths = []
    for side in ("de", "en"):
        lines = gzip.decompress((data / f"train.{side}.gz").read_bytes()).decode().removesuffix("\n").split("\n")
        paths.append(folder / f"corpus.{side}")
        with paths[-1].open("w", encoding="utf-8", newline="\n") as file:
            for copy in range(-(-pairs // len(lines))):
                generator = random.Random(f"{side} {copy}").random
                for line in lines[: pairs - copy * len(lines)]:
                    file.write((vary(line, copy, generator) if copy else line) + "\n")
    return paths[0], paths[1]


def vary(line: str, copy: int, generator: Callable[[], float]) -> str:
    """Writes the copy's number, which no earlier copy has, behind one word, and earlier ones behind every twelfth."""
    words = line.split(" ")
    for place in range(len(words)):
        if generator() < 1 / 12 and words[place].isalpha():
            words[place] += str(1 + int(copy * generator() ** 2))  # low numbers are the frequent ones
    words[int(len(words) * generator())] += str(copy)
    return " ".join(words)
