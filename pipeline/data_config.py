"""The section `[data]`, where sentence pairs come from, and `[filters]`, which of them are kept."""

from typing import Annotated, Literal, Self

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


class DataConfig(Section):
    """Where sentence pairs come from, and how they are split.

    Exactly one origin: `source` with `target`, or `tsv`, or `builtin`. Paths may hold the wildcards `*`, `?` and
    `[...]`; files may be gzipped. A relative path starts from `directory`; without one, a name of `download` means the
    fetched file, and any other path starts from the folder of the configuration file.
    """

    source: str | None = None
    """Path of the source side of line-aligned text files."""
    target: str | None = None
    """Path of the target side of line-aligned text files."""
    tsv: str | None = None
    """Path of files with one `source<TAB>target` a line."""
    builtin: Literal["dates", "emoji"] | None = None
    """A corpus that needs no file."""
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
            source, target, tsv = (getattr(self, prefix + key) for key in ("source", "target", "tsv"))
            if (source is None) != (target is None):
                given, absent = ("source", "target") if target is None else ("target", "source")
                raise ValueError(f"{prefix}{absent}: expected beside {prefix}{given}, got nothing; add it")
            if source is not None and tsv is not None:
                raise ValueError(
                    f"{prefix}tsv: expected either {prefix}source and {prefix}target or {prefix}tsv, got both"
                )
        origins = [key for key in ("source", "tsv", "builtin") if getattr(self, key) is not None]
        if len(origins) != 1:
            got = " and ".join(origins) or "none"
            raise ValueError(f'expected one of source and target, tsv, or builtin = "dates" or "emoji", got {got}')
        if self.validation_fraction + self.test_fraction >= 1.0:
            raise ValueError("test_fraction: expected validation_fraction + test_fraction below 1, got at least 1")
        return self


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
    drop_duplicates: bool = False
    """Whether repetitions of a pair within the training split are dropped."""
    max_error_share: Share = 0.05
    """Share of broken lines (invalid UTF-8, NUL, empty, overlong, malformed) above which the run stops, 0 to 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0.0 < self.max_length_ratio < 1.0:
            raise ValueError(f"max_length_ratio: expected 0 (no limit) or at least 1, got {self.max_length_ratio}")
        return self
