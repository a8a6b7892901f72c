"""The section `[data]`, where sentence pairs come from, and `[filters]`, which of them are kept."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config_section import Count, Section, Share, as_tuple


class DownloadConfig(Section):
    """A file that is fetched into the download cache before it is read."""

    name: str = Field(min_length=1, pattern=r"^[^/\\]+$")
    """Name under which `data.source` and the other paths refer to the file; no folders."""
    url: str = Field(min_length=1)
    """Where the file is fetched from."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of the file's bytes, 64 lowercase hexadecimal digits; a file with another one is refused."""


class DatesConfig(Section):
    """The built-in corpus of dates in many languages, translated to ISO 8601."""

    count: Count = 40_000
    """Number of generated sentence pairs."""
    seed: int = Field(default=1, ge=0)
    """Seed of the generator; the same seed gives the same pairs."""
    first_year: int = Field(default=1950, ge=1000, le=9999)
    """First calendar year that occurs."""
    last_year: int = Field(default=2049, ge=1000, le=9999)
    """Last calendar year that occurs."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.last_year < self.first_year:
            raise ValueError(f"last_year: expected at least first_year ({self.first_year}), got {self.last_year}")
        return self


class EmojiConfig(Section):
    """The built-in corpus of emoji names."""

    source_language: str = "en"
    """Language translated from, as the package `emoji` names it."""
    target_language: str = "de"
    """Language translated to, as the package `emoji` names it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source_language == self.target_language:
            raise ValueError(
                f"target_language: expected another language than source_language, got {self.target_language!r}"
            )
        return self


def _columns(value: object) -> object:
    """Checks `columns` as a whole; of a union, pydantic would tell what is wrong with each of its members."""
    columns = tuple(value) if isinstance(value, list | tuple) else ()
    if len(columns) != 2 or not all(isinstance(column, str) or type(column) is int for column in columns):
        raise ValueError(f"expected two columns, source and target, by name or by number, got {value!r}")
    if any(isinstance(column, int) and column < 1 for column in columns):
        raise ValueError(f"expected columns to be numbered from 1, got {value!r}")
    if columns[0] == columns[1]:
        raise ValueError(f"expected two different columns, source and target, got {value!r}")
    return columns


Texts = Annotated[tuple[str, str], BeforeValidator(as_tuple)]


class CorpusConfig(Section):
    """One of several corpora, a table `[[data.corpora]]`.

    Exactly one origin: `source` with `target`, `tsv`, `csv`, `jsonl`, `tmx` or `po`; see `data` for the paths.
    """

    source: str | None = None
    """Path of the source side of line-aligned text files."""
    target: str | None = None
    """Path of the target side of line-aligned text files."""
    tsv: str | None = None
    """Path of files with one `source<TAB>target` a line, without quoting."""
    csv: str | None = None
    """Path of CSV files, quoted as spreadsheets do."""
    jsonl: str | None = None
    """Path of files with one JSON object a line."""
    tmx: str | None = None
    """Path of translation memories."""
    po: str | None = None
    """Path of gettext's PO files; what is untranslated, fuzzy or obsolete is left out."""
    columns: Annotated[tuple[str | int, str | int], BeforeValidator(_columns)] | None = None
    """`csv`: columns of source and target, by name or by number from 1; default: [1, 2]."""
    header: bool | None = None
    """`csv`: whether the first row names the columns; default: whether `columns` has names."""
    delimiter: str | None = None
    """`csv`: what separates the fields; default: a comma."""
    keys: Texts | None = None
    """`jsonl`: keys of source and target, where dots lead into objects: ["translation.de", "translation.en"]; default:
    ["source", "target"]."""
    languages: Texts | None = None
    """`tmx`: codes of the languages of source and target; "de" is also "de-DE"."""
    reverse: bool | None = None
    """`po`: whether to translate to the language that the program is written in; default: false, from it."""
    weight: float = Field(default=1.0, gt=0.0, le=1000.0)
    """How often a pair of the training split stands in an epoch: 2 is twice, with 0.5 half of the pairs stand once."""
    domain: str = ""
    """What the corpus is about, such as "law", in letters, digits and ._+-: the evaluation tells domains apart."""
    split: Literal["train", "validation", "test"] | None = None
    """The split that the corpus is; default: all that the given splits leave over, divided by a stable hash."""

    @property
    def origin(self) -> str:
        """The key that tells the format."""
        return next(key for key in _ORIGINS if getattr(self, key) is not None)

    @property
    def options(self) -> dict[str, Any]:
        """What is said of the format, by key."""
        return {key: getattr(self, key) for key in _OPTIONS if getattr(self, key) is not None}

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_sides(self, "")
        origins = [key for key in _ORIGINS if getattr(self, key) is not None]
        if not origins:
            raise ValueError("expected one of source and target, tsv, csv, jsonl, tmx or po, got none")
        if len(origins) > 1:
            raise ValueError(f"{origins[1]}: expected one origin of a corpus, got {origins[0]} beside it; remove one")
        for key, origin in _OPTIONS.items():
            if getattr(self, key) is not None and origins != [origin]:
                raise ValueError(f"{key}: expected only with {origin}, got it with {origins[0]}; remove it")
        if self.tmx is not None and (self.languages is None or self.languages[0] == self.languages[1]):
            raise ValueError(
                'languages: expected the codes of two languages, source and target, such as ["de", "en"],'
                f" got {list(self.languages) if self.languages else 'nothing'}"
            )
        if self.keys is not None and self.keys[0] == self.keys[1]:
            raise ValueError(f"keys: expected two different keys, source and target, got {list(self.keys)}")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise ValueError(f"delimiter: expected one character that is no quote or line end, got {self.delimiter!r}")
        if not re.fullmatch(r"[\w.+-]{0,40}", self.domain):
            raise ValueError(f"domain: expected at most 40 letters, digits and ._+-, got {self.domain!r}")
        if self.header is False and any(isinstance(column, str) for column in self.columns or ()):
            raise ValueError("header: expected true where columns are named, got false")
        if self.weight != 1.0 and self.split in ("validation", "test"):
            raise ValueError(
                f'weight: expected 1 with split = "{self.split}", which is not trained on, got {self.weight}'
            )
        return self


_ORIGINS = ("source", "tsv", "csv", "jsonl", "tmx", "po")
_OPTIONS = {"columns": "csv", "header": "csv", "delimiter": "csv", "keys": "jsonl", "languages": "tmx", "reverse": "po"}


def _check_sides(section: Section, prefix: str) -> None:
    """Raises ValueError when a source has no target, or the reverse."""
    source, target = (getattr(section, prefix + key) for key in ("source", "target"))
    if (source is None) != (target is None):
        given, absent = ("source", "target") if target is None else ("target", "source")
        raise ValueError(f"{prefix}{absent}: expected beside {prefix}{given}, got nothing; add it")


class DataConfig(Section):
    """Where sentence pairs come from, and how they are split.

    One origin or none: `source` with `target`, or `tsv`, or `builtin`; and as many `corpora` as there are. Paths may
    hold the wildcards `*`, `?`, `[...]` and, folders included, `**`; files of `source` and `target` are then paired by
    what the wildcards stand for. Files may be packed (`.gz`, `.bz2`, `.zst`). A relative path starts from `directory`;
    without one, a name of `download` means the fetched file, and any other path starts from the folder of the
    configuration file.
    """

    source: str | None = None
    """Path of the source side of line-aligned text files."""
    target: str | None = None
    """Path of the target side of line-aligned text files."""
    tsv: str | None = None
    """Path of files with one `source<TAB>target` a line."""
    builtin: Literal["dates", "emoji"] | None = None
    """A corpus that needs no file."""
    corpora: Annotated[tuple[CorpusConfig, ...], BeforeValidator(as_tuple)] = ()
    """More corpora, in this or other formats, with weights and domains; also those of given splits."""
    validation_source: str | None = None
    """Path of the source side of a given validation split."""
    validation_target: str | None = None
    """Path of the target side of a given validation split."""
    validation_tsv: str | None = None
    """Path of a given validation split, one `source<TAB>target` a line."""
    test_source: str | None = None
    """Path of the source side of a given test split."""
    test_target: str | None = None
    """Path of the target side of a given test split."""
    test_tsv: str | None = None
    """Path of a given test split, one `source<TAB>target` a line."""
    validation_fraction: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Share of the sentences that a stable hash puts into validation; used if no validation files are given."""
    test_fraction: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Share of the sentences that a stable hash puts into the test split; used if no test files are given."""
    directory: str | None = None
    """Folder that relative paths start from; it also replaces the download cache, so nothing is fetched."""
    download: Annotated[tuple[DownloadConfig, ...], BeforeValidator(as_tuple)] = ()
    """Files fetched into the download cache before they are read, unless `directory` is given."""
    dates: DatesConfig = DatesConfig()
    """Options of `builtin = "dates"`."""
    emoji: EmojiConfig = EmojiConfig()
    """Options of `builtin = "emoji"`."""
    shards: int = Field(default=8, ge=1, le=99_999)
    """Number of record files of the training split, which is also how many tasks its pairs are grouped, counted and
    encoded in: several for each worker. Memory does not depend on it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for prefix in ("", "validation_", "test_"):
            _check_sides(self, prefix)
            if getattr(self, f"{prefix}source") is not None and getattr(self, f"{prefix}tsv") is not None:
                raise ValueError(
                    f"{prefix}tsv: expected either {prefix}source and {prefix}target or {prefix}tsv, got both"
                )
        origins = [key for key in ("source", "tsv", "builtin") if getattr(self, key) is not None]
        splits = [corpus.split for corpus in self.corpora]
        if len(origins) > 1 or not (origins or None in splits or "train" in splits):
            got = " and ".join(origins) or ("only given splits" if splits else "none")
            raise ValueError(
                'expected one of source and target, tsv, or builtin = "dates" or "emoji", or corpora for training,'
                f" got {got}"
            )
        for split in ("validation", "test"):
            if not (origins or None in splits or split in self.given_splits):
                raise ValueError(
                    f'corpora: expected one with split = "{split}", or one without split to take it from, got neither'
                )
        if self.validation_fraction + self.test_fraction >= 1.0:
            raise ValueError("test_fraction: expected validation_fraction + test_fraction below 1, got at least 1")
        return self

    @property
    def given_splits(self) -> set[str]:
        """Those of validation and test that have data of their own."""
        named = {corpus.split for corpus in self.corpora} & {"validation", "test"}
        short = {
            split for split in ("validation", "test") for key in ("source", "tsv") if getattr(self, f"{split}_{key}")
        }
        return {split for split in named | short if split}


class FiltersConfig(Section):
    """Which sentence pairs are kept; every dropped pair is counted under the name of its reason.

    Lengths are in characters where the side's unit is one, else in words: subwords are learned after filtering.
    """

    max_source_tokens: Count = 100
    """Longest source sentence of the training split, in words or characters."""
    max_target_tokens: Count = 100
    """Longest target sentence of the training split, in words or characters."""
    max_length_ratio: float = Field(default=0.0, ge=0.0)
    """Training split: largest ratio of the longer side's length to the shorter side's, at least 1; 0 = no limit."""
    drop_duplicates: Literal["none", "exact", "near"] = "none"
    """Which repetitions of a pair within the training split are dropped: none; those that are equal after
    normalisation; or near copies, too, which differ in case, punctuation, digits or white space only. Near copies of a
    sentence are then in one split, also where no pair is dropped."""
    max_error_share: Share = 0.05
    """Share of broken lines (invalid UTF-8, NUL, empty, overlong, malformed) above which the run stops, 0 to 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0.0 < self.max_length_ratio < 1.0:
            raise ValueError(f"max_length_ratio: expected 0 (no limit) or at least 1, got {self.max_length_ratio}")
        return self
