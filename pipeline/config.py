"""What can be configured: one frozen, typed model per section, and how it is read from TOML.

The sections are here and in the files `pipeline/*_config.py`. Every default is written there and nowhere else; together
they are the experiment of the classic sequence-to-sequence tutorial. A configuration file names only what differs:

    [data]
    source = "news.de.gz"
    target = "news.en.gz"

With `extends = "PRESET"` in its first line it names what differs from that preset.

Files: `load` (a path or the name of a preset in `pipeline/configs/`) and `dump` (the resolved configuration as TOML).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from pipeline.config_files import base_of, read_reference, resolve_paths
from pipeline.config_messages import explain
from pipeline.config_section import Count, Metric, Section, as_tuple
from pipeline.data_config import DataConfig, FiltersConfig
from pipeline.model_config import ModelConfig, RecurrentConfig
from pipeline.serving_config import ServingConfig
from pipeline.text_config import TextSection, VocabularySection
from pipeline.training_config import EnsembleConfig, TrainingConfig
from pipeline.validation_config import ValidationConfig


class SearchConfig(Section):
    """The beam search of evaluation and of the exported model."""

    beam_size: Count = 5
    """Live hypotheses per sentence; 1 = greedy."""
    n_best: int = Field(default_factory=lambda validated: int(validated["beam_size"]), ge=1)
    """Translations that the signature `n_best` answers with, at most `beam_size`; default: `beam_size`."""
    length_normalization: Literal["gnmt", "tokens"] = "gnmt"
    """What a log-probability is divided by before hypotheses of different lengths are compared: ((5 + tokens) / 6) to
    the power `length_penalty` (gnmt; Wu et al. 2016), or tokens to that power."""
    length_penalty: float = Field(default=1.0, ge=0.0)
    """Exponent of the length normalisation; 0 = sum of log probabilities."""
    coverage_penalty: float = Field(default=0.0, ge=0.0)
    """Weight of the penalty for source tokens that a translation has hardly looked at (Wu et al. 2016; 0.2 there); 0 =
    none. Needs attention."""
    stop_after: int = Field(default=0, ge=0)
    """How many hypotheses of a sentence may end before its search stops, at least `n_best`; 0 = it stops when no live
    one can still win. `beam_size` is what most toolkits do: fewer steps, and now and then a worse translation."""
    min_length: int = Field(default=0, ge=0)
    """Fewest tokens of a translation, unless its largest length is less, or the options below leave nothing to go on
    with: then it ends there."""
    no_repeat_ngram: int = Field(default=0, ge=0)
    """Size of the n-grams of tokens that a translation may not hold twice; 0 = all may repeat."""
    banned_words: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Words or phrases that no translation may hold: their tokens, one after the other; of subwords those of their
    usual segmentation, also within longer words."""
    max_length_factor: float = Field(default=2.0, ge=0.0)
    """A translation has at most max_length_factor * source tokens + max_length_constant tokens."""
    max_length_constant: int = Field(default=10, ge=0)
    """See `max_length_factor`; in tokens."""
    max_tokens: int = Field(default=512, ge=0)
    """Tokens of a text that the exported model reads; 0 = all. A longer one costs a server time and memory."""
    overlong: Literal["truncate", "refuse"] = "truncate"
    """What becomes of a longer text: its beginning is translated, and the signatures but the simplest one say so in
    their output `truncated`; or it is refused, and with it all texts of its batch, be it one that a server put
    together."""
    allow_unknown: bool = False
    """Whether a translation may hold the unknown token."""
    replace_unknown: bool = False
    """Whether an unknown word is replaced by the source word that it looked at most; needs attention, units of words
    and `allow_unknown`."""
    shortlist: int = Field(default=0, ge=0)
    """Target tokens that each token of a source sentence brings into the sentence's shortlist, out of which it is
    translated: those that stand opposite it most in the training split; 0 = no shortlist but the whole vocabulary. The
    larger the vocabulary, the more time it saves; how many of the validation split's tokens it holds is reported.
    Scores are then among its tokens. `sample` and `score` do without."""
    shortlist_frequent: Count = 300
    """The most frequent target tokens, which are in every shortlist."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_best > self.beam_size:
            raise ValueError(f"n_best: expected at most beam_size ({self.beam_size}), got {self.n_best}")
        if 0 < self.stop_after < self.n_best:
            raise ValueError(f"stop_after: expected 0 or at least n_best ({self.n_best}), got {self.stop_after}")
        if self.max_length_factor == 0.0 and self.max_length_constant == 0:
            raise ValueError("max_length_constant: expected at least 1 if max_length_factor is 0, got 0")
        if self.replace_unknown and not self.allow_unknown:
            raise ValueError("allow_unknown: expected true with replace_unknown = true, got false")
        if self.overlong == "refuse" and self.max_tokens == 0:
            raise ValueError('overlong: expected "truncate" with max_tokens = 0, got "refuse"')
        return self


class EvaluationConfig(Section):
    """Scoring the test split."""

    batch_size: Count = 64
    """Sentences that are searched together; changes speed and memory, not results."""
    samples: int = Field(default=10, ge=0)
    """Held-out sentences shown with reference and translation."""
    metrics: Annotated[tuple[Metric, ...], BeforeValidator(as_tuple)] | None = Field(default=None, min_length=1)
    """Scores of the translations: `bleu` and `chrf`; `token_bleu`, that of our own word tokens; `exact_match`, the
    share of translations that equal a reference; the opposite share, `word_error_rate`, with `phone_error_rate` the
    usual figures for pronunciations; `character_error_rate`. Default: `bleu`, `chrf` and `exact_match`, with
    `token_bleu` for a target of words and `character_error_rate` for one of characters."""
    length_edges: Annotated[tuple[Count, ...], BeforeValidator(as_tuple)] | None = Field(default=None, min_length=1)
    """Figures are also given by the length of the source, in words, or in characters where those are its unit: the
    longest length of each slice but the last, rising. Default: the quartiles of the test split."""
    min_slice: Count = 50
    """Slices of fewer sources are marked: what is said of them is mostly chance."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples of the test split that intervals and comparisons are made of."""
    bless_metric: Metric | None = None
    """The score that decides whether a model is blessed: only blessed models are pushed. Default: the first one of
    `metrics`."""
    bless_margin: float = Field(default=0.5, ge=0.0)
    """How much worse than the last blessed model a blessed one may be, on the test sentences that both have: in points,
    as reports show the score (of shares, percentage points)."""
    bless_minimum: float | None = None
    """A blessed model's score is at least as good as this, in the same points. Default: the first model is blessed
    whatever it can do, and none whose test split is another one than that of the last blessed model."""

    @field_validator("length_edges")
    @classmethod
    def _check_edges(cls, edges: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if edges is not None and list(edges) != sorted(set(edges)):
            raise ValueError(f"expected rising lengths, got {list(edges)}")
        return edges


class Config(Section):
    """A whole experiment."""

    name: str
    """Name of the run and of the exported model; default: the configuration file's name without `.toml`."""
    data: DataConfig
    """Where sentence pairs come from."""
    source: TextSection = TextSection()
    """Text of the source side."""
    target: TextSection = TextSection()
    """Text of the target side."""
    vocabulary: VocabularySection = VocabularySection()
    """Both vocabularies."""
    filters: FiltersConfig = FiltersConfig()
    """Which pairs are kept."""
    validation: ValidationConfig = ValidationConfig()
    """What the corpus may look like."""
    model: ModelConfig = RecurrentConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig()
    """Fitting the network."""
    ensemble: EnsembleConfig = EnsembleConfig()
    """Several trainings as one model."""
    search: SearchConfig = SearchConfig()
    """The beam search."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Scoring the test split."""
    serving: ServingConfig = ServingConfig()
    """Publishing for a server."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The scores of translations: `evaluation.metrics`, or the default for the target's unit."""
        of_unit: dict[str, tuple[Metric, ...]] = {"word": ("token_bleu",), "character": ("character_error_rate",)}
        return self.evaluation.metrics or ("bleu", "chrf", *of_unit.get(self.target.unit, ()), "exact_match")

    @property
    def bless_metric(self) -> Metric:
        """The score that decides whether a model is blessed."""
        return self.evaluation.bless_metric or self.metrics[0]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bless_metric not in self.metrics:
            raise ValueError(
                f"evaluation: expected one of metrics ({', '.join(self.metrics)}) for bless_metric, "
                f"got {self.bless_metric}"
            )
        differing = [key for key in TextSection.model_fields if getattr(self.source, key) != getattr(self.target, key)]
        if self.vocabulary.joint and differing:
            raise ValueError(
                f"vocabulary: expected equal sections source and target with joint = true, "
                f"got different {', '.join(differing)}"
            )
        subwords = {"unigram", "bpe", "wordpiece"} & {self.source.unit, self.target.unit}
        samples = self.source.samples or self.target.samples
        for key, used, need in (("max_words", subwords, "a subword unit"), ("segmentations", samples, "sampling")):
            value, default = getattr(self.vocabulary, key), VocabularySection.model_fields[key].default
            if value != default and not used:
                raise ValueError(f"vocabulary: expected {key} = {default} without {need}, got {value}")
        if self.model.tied == "all" and not self.vocabulary.joint:
            raise ValueError('model: expected tied = "none" or "target" without vocabulary.joint = true, got "all"')
        for key in ("coverage_penalty", "replace_unknown"):
            if getattr(self.search, key) and not self.model.has_attention:
                default = json.dumps(SearchConfig.model_fields[key].default)
                raise ValueError(f"search: expected {key} = {default} without attention")
        if self.search.replace_unknown and {self.source.unit, self.target.unit} != {"word"}:
            raise ValueError('search: expected replace_unknown = false unless both sides have unit = "word", got true')
        return self

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not name or name.startswith(".") or not name.isprintable() or "/" in name or "\\" in name:
            raise ValueError(f"expected the name of a folder (no slashes, not starting with a dot), got {name!r}")
        return name


def load(reference: str, overrides: Sequence[str] = ()) -> Config:
    """Reads a configuration.

    Args:
        reference: Path of a TOML file, or name of a preset.
        overrides: `section.key=value` each; values in TOML syntax, bare words are strings. Later ones win.

    Raises:
        UsageError: Unreadable file, unknown key, wrong type or value, unknown preset; the message is one line.
    """
    document = read_reference(reference, overrides)
    try:
        config = Config.model_validate(document.values)
    except ValidationError as error:
        raise explain(error, document, Config) from None
    data: dict[str, Any] = resolve_paths(config.data.model_dump(exclude_none=True), document)
    update: dict[str, Any] = {"data": DataConfig.model_validate(data)}
    if config.serving.push_to is not None:
        push_to = str(base_of(("serving", "push_to"), document) / Path(config.serving.push_to).expanduser())
        update["serving"] = config.serving.model_copy(update={"push_to": push_to})
    compare_with = config.validation.compare_with
    if compare_with is not None:
        compare_with = str(base_of(("validation", "compare_with"), document) / Path(compare_with).expanduser())
        update["validation"] = config.validation.model_copy(update={"compare_with": compare_with})
    return config.model_copy(update=update)


def dump(config: Config) -> str:
    """The configuration as TOML with every value written out; `load` reads it back to an equal one."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
