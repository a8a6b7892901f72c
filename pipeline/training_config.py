"""The sections `[training]` and `[ensemble]`."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from pipeline.config_section import Count, Metric, Section, Share, as_tuple


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
    warmup_steps: float = Field(default=0, ge=0.0)
    """Updates in which the learning rate rises linearly to `learning_rate`; below 1, their share of the training's, so
    that it goes along with `epochs`."""
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
    as in `evaluation.metrics`, which takes a search after each epoch. Of epochs that are equal in it, the one of the
    better perplexity is kept."""
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

    def warmup_updates(self, total: int) -> int:
        """The length of the warm-up in a training of `total` updates."""
        if self.warmup_steps >= 1:
            return int(self.warmup_steps)
        return max(int(self.warmup_steps * total), int(self.decay == "inverse_sqrt"))

    @field_validator("warmup_steps")
    @classmethod
    def _check_warmup(cls, steps: float) -> float:
        if steps >= 1 and steps != int(steps):
            raise ValueError(f"expected a whole number of updates, or a share of them below 1, got {steps}")
        return steps if 0 < steps < 1 else int(steps)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_unit == "tokens" and not self.bucket_by_length:
            raise ValueError('bucket_by_length: expected true with batch_unit = "tokens", got false')
        if self.decay == "inverse_sqrt" and self.warmup_steps == 0:
            raise ValueError('warmup_steps: expected more than 0 with decay = "inverse_sqrt", got 0')
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
