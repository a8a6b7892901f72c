"""What can be configured: one frozen, typed model per section, and how it is read from TOML.

Every default is written here and nowhere else; together they are the experiment of the classic sequence-to-sequence
tutorial. A configuration file names only what differs:

    [data]
    source = "news.de.gz"
    target = "news.en.gz"

With `extends = "PRESET"` in its first line it names what differs from that preset.

Files: `load` (a path or the name of a preset in `pipeline/configs/`) and `dump` (the resolved configuration as TOML).
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from pipeline.config_files import read_reference, resolve_paths
from pipeline.config_messages import explain
from pipeline.config_section import Count, Section, Share, as_tuple
from pipeline.model_config import ModelConfig, RecurrentConfig

Metric = Literal[
    "bleu", "chrf", "token_bleu", "exact_match", "word_error_rate", "phone_error_rate", "character_error_rate"
]


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
    """Number of record files per split."""

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


class TextSection(Section):
    """How one side's text becomes tokens, and which tokens the vocabulary keeps."""

    unit: Literal["word", "character", "unigram", "bpe", "wordpiece"] = "word"
    """What a token is: a word or punctuation mark, a Unicode character, or a subword learned from the training split:
    SentencePiece's unigram or bpe, which also suit languages written without spaces, or WordPiece's."""
    normalization: Literal["nfkc", "nfc", "none"] = "nfkc"
    """Unicode normalisation form."""
    lowercase: bool = True
    """Whether text is lowercased."""
    min_count: Count = 2
    """Occurrences in the training split below which a word or character is unknown; subwords are learned from words
    that occur so often."""
    max_vocabulary: int = Field(default=30_000, ge=1)
    """Largest number of tokens in the vocabulary besides the four special ones: the most frequent words or characters,
    or as many subwords as are learned."""
    character_coverage: float = Field(default=1.0, gt=0.0, le=1.0)
    """Subword units: share of the training split's characters that the vocabulary covers; the rarest characters beyond
    it are unknown. A little below 1 saves room in languages of thousands of characters."""
    bpe_dropout: Share = 0.0
    """Unit bpe: probability with which a merge of two subwords is left out, anew in each epoch of training (0.1 is
    usual); never in validation, evaluation and serving."""
    sampling_alpha: float = Field(default=0.0, ge=0.0)
    """Unit unigram: segmentations are drawn with their probability to this power, anew in each epoch of training (0.2
    to 0.5 are usual, smaller ones vary more); 0 = the best one always, as in validation, evaluation and serving."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, default, units in (
            ("character_coverage", 1.0, ("unigram", "bpe", "wordpiece")),
            ("bpe_dropout", 0.0, ("bpe",)),
            ("sampling_alpha", 0.0, ("unigram",)),
        ):
            value = getattr(self, key)
            if value != default and self.unit not in units:
                raise ValueError(f'{key}: expected {default} with unit = "{self.unit}", got {value}')
        return self

    @property
    def samples(self) -> bool:
        """Whether training segments words at random."""
        return self.bpe_dropout > 0.0 or self.sampling_alpha > 0.0

    def text_options(self) -> dict[str, Any]:
        """How text is normalised and split, without the vocabulary: the fields of `preprocessing.text.TextConfig`."""
        return self.model_dump(include={"unit", "normalization", "lowercase"})


class VocabularySection(Section):
    """What the vocabularies of both sides have in common."""

    joint: bool = False
    """Whether both sides share one vocabulary, made from the texts of both, so that a token has the same id on either
    side; needs equal sections `source` and `target`."""
    max_words: Count = 500_000
    """Subword units: distinct words, the most frequent ones, that are held in memory, to learn from and to draw
    segmentations of (about 1 kB each for those)."""
    segmentations: Count = 32
    """Segmentations drawn of each word for `bpe_dropout` and `sampling_alpha`; training takes one of them each time."""


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


class TeacherForcingConfig(Section):
    """The ratio: how likely a decoder input is the reference token rather than the model's own prediction."""

    schedule: Literal["constant", "linear", "exponential", "inverse_sigmoid"] = "constant"
    """How the ratio moves with the iteration i: `end + (start - end) d(i)`, where d(i) is 1 (constant),
    max(0, 1 - i/k) (linear), exp(-i/k) (exponential) or k / (k + exp(i/k)) (inverse_sigmoid), and k is `steps`."""
    start: Share = 0.5
    """Ratio at iteration 0 (inverse_sigmoid: nearly), 0 to 1."""
    end: Share = 0.5
    """Ratio that the schedule moves to, 0 to 1; constant stays at `start`."""
    steps: Count = 10_000
    """k in the schedule's formula, in iterations (batches); linear reaches `end` after them."""
    coin: Literal["batch", "token"] = "batch"
    """Whether one coin is tossed per time step for the whole batch (the tutorial's way), or one per token."""
    roll_out: Literal["exact", "parallel"] = "exact"
    """Whether the predictions that are fed follow the loop's inputs, found one step after the other, or reference
    tokens alone, found in one pass: an approximation that is faster, above all for a Transformer, but not where the
    recurrent decoder itself has to go step by step (additive attention, input feeding)."""


class TrainingConfig(Section):
    """Fitting the network."""

    epochs: Count = 10
    """Passes over the training split, at most."""
    batch_size: Count = 128
    """Size of an update's batch, over all devices, in units of `batch_unit`."""
    batch_unit: Literal["sentences", "tokens"] = "sentences"
    """What `batch_size` counts: sentence pairs, or tokens of the longer side with padding; tokens need
    `bucket_by_length`."""
    bucket_by_length: bool = False
    """Whether a batch holds pairs of similar lengths. It saves padding where the network computes padding, which the
    recurrent networks here don't, but random batches learn faster: a batch of one length pulls the end token's
    probability to that length."""
    micro_batches: Count = 1
    """Parts that a device computes its share of a batch in, one after the other (gradient accumulation). The update is
    the same, but for the masks of dropout; more parts need less memory and more time."""
    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Adam's step size, at its highest."""
    beta_2: float = Field(default=0.999, ge=0.0, lt=1.0)
    """Decay of Adam's mean of squared gradients; Transformers are usually trained with 0.98."""
    warmup_steps: int = Field(default=0, ge=0)
    """Updates in which the learning rate rises linearly to `learning_rate`."""
    decay: Literal["constant", "inverse_sqrt", "cosine", "plateau"] = "constant"
    """How the learning rate moves after the warm-up: constant; with the inverse square root of the updates; along a
    half cosine to 0 at the last update; or times `plateau_factor` whenever `selection` has not improved for
    `plateau_patience` epochs."""
    plateau_factor: float = Field(default=0.5, gt=0.0, lt=1.0)
    """See `decay`."""
    plateau_patience: Count = 1
    """See `decay`; in epochs."""
    clip_norm: float = Field(default=1.0, gt=0.0)
    """Largest global norm of the gradients; larger ones are scaled down to it."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the target distribution that training spreads evenly over the vocabulary (usual: 0.1), so that the model
    does not become too sure. All losses and perplexities that are shown or select weights are without it."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Seed of initial weights, shuffling, dropout and teacher-forcing coins."""
    teacher_forcing: TeacherForcingConfig = TeacherForcingConfig()
    """Schedule and coins of stochastic teacher forcing."""
    selection: Literal["perplexity", "free_running_perplexity", Metric] = "perplexity"
    """Validation figure whose best value picks the epoch that is kept: a perplexity, or a score of greedy translations
    as in `evaluation.metrics`, which takes a search after each epoch."""
    patience: int = Field(default=0, ge=0)
    """Epochs without a better `selection` after which training stops early; 0 = never."""
    ema_momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Momentum of an exponential moving average of the weights, which is then validated and kept in their place; 0 =
    none."""
    average_checkpoints: Count = 1
    """The mean of the weights after the last so many epochs is validated, too, and kept if it is better than the best
    epoch; 1 = no averaging."""
    keep_checkpoints: Count = 2
    """Checkpoints at the ends of epochs that stay on the disk, each three times the size of the weights (four with
    `ema_momentum`)."""
    checkpoint_minutes: float = Field(default=5.0, ge=0.0)
    """Minutes between two checkpoints within an epoch; 0 = after each update. It changes no result."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the matrix products in training. bfloat16 is faster where the processor has it (AVX512-BF16, AMX, GPUs);
    float16, with dynamic loss scaling, is for GPUs that have no bfloat16. Weights, softmax and loss stay in float32.
    The Evaluator and the exported model compute in float32."""
    deterministic: bool = True
    """Whether operations are chosen so that a repetition on the same machine gives the same weights. On a GPU that is
    slow: TensorFlow then computes some of them on the host."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_unit == "tokens" and not self.bucket_by_length:
            raise ValueError('bucket_by_length: expected true with batch_unit = "tokens", got false')
        if self.decay == "inverse_sqrt" and self.warmup_steps == 0:
            raise ValueError('warmup_steps: expected at least 1 with decay = "inverse_sqrt", got 0')
        if self.average_checkpoints > self.keep_checkpoints:
            raise ValueError(
                f"keep_checkpoints: expected at least average_checkpoints ({self.average_checkpoints}), "
                f"got {self.keep_checkpoints}"
            )
        if self.average_checkpoints > 1 and self.ema_momentum > 0.0:
            raise ValueError(
                f"average_checkpoints: expected 1 with ema_momentum (one average is enough), "
                f"got {self.average_checkpoints}"
            )
        return self


class EnsembleConfig(Section):
    """Several trainings of one network as one model, whose probabilities are the mean of theirs."""

    seeds: Annotated[tuple[int, ...], BeforeValidator(as_tuple)] = ()
    """The network is trained once with each of these seeds in the place of `training.seed`, and evaluated and exported
    as the ensemble of the results; none = one training, no ensemble."""

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or any(not 0 <= seed < 2**31 for seed in seeds):
            raise ValueError(f"expected different seeds of at least 0 and below 2**31, got {list(seeds)}")
        return seeds


class SearchConfig(Section):
    """The beam search of evaluation and of the exported model."""

    beam_size: Count = 5
    """Live hypotheses per sentence; 1 = greedy."""
    n_best: int = Field(default_factory=lambda validated: int(validated["beam_size"]), ge=1)
    """Translations that the signature `n_best` answers with, at most `beam_size`; default: `beam_size`."""
    length_penalty: float = Field(default=1.0, ge=0.0)
    """Exponent of the length normalisation; 0 = sum of log probabilities."""
    max_length_factor: float = Field(default=2.0, ge=0.0)
    """A translation has at most max_length_factor * source tokens + max_length_constant tokens."""
    max_length_constant: int = Field(default=10, ge=0)
    """See `max_length_factor`; in tokens."""
    allow_unknown: bool = False
    """Whether a translation may hold the unknown token."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_best > self.beam_size:
            raise ValueError(f"n_best: expected at most beam_size ({self.beam_size}), got {self.n_best}")
        if self.max_length_factor == 0.0 and self.max_length_constant == 0:
            raise ValueError("max_length_constant: expected at least 1 if max_length_factor is 0, got 0")
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

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The scores of translations: `evaluation.metrics`, or the default for the target's unit."""
        of_unit: dict[str, tuple[Metric, ...]] = {"word": ("token_bleu",), "character": ("character_error_rate",)}
        return self.evaluation.metrics or ("bleu", "chrf", *of_unit.get(self.target.unit, ()), "exact_match")

    @model_validator(mode="after")
    def _check(self) -> Self:
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
    return config.model_copy(update={"data": DataConfig.model_validate(data)})


def dump(config: Config) -> str:
    """The configuration as TOML with every value written out; `load` reads it back to an equal one."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
