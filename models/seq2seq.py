"""The encoder-decoder as a Keras model whose training step is stochastic teacher forcing."""

from typing import Any, Self

import keras
import tensorflow as tf

from models import replicas
from models.batches import Batch, slice_rows, token_counts
from models.dropout import fold_in
from models.gradients import accumulate, clip
from models.losses import CrossEntropy, sequence_nll
from models.metrics import Perplexity
from models.networks import Network
from models.optimizers import apply_reduced, check_clipping, loss_scale
from models.teacher_forcing import RollOut, TeacherForcing, draw_coins, parallel_roll_out, roll_out, shift_right


@keras.saving.register_keras_serializable(package="heliograph")
class Seq2Seq(keras.Model):
    """Sequence to sequence with any of `models.networks`.

    Args:
        source_vocabulary_size: number of source ids.
        target_vocabulary_size: number of target ids.
        start_id: the target's start token.
        network: which encoder and decoder.
        cudnn: whether recurrent layers may use cuDNN; not kept when the model is saved (see `Recurrent`).

    Call arguments:
        batch: a `Batch`.

    Output:
        Logits `[B, T, V]` under pure teacher forcing.
    """

    def __init__(
        self,
        *,
        source_vocabulary_size: int,
        target_vocabulary_size: int,
        start_id: int,
        network: Network,
        cudnn: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.variable_dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must keep weights in float32 or float64, got {self.dtype_policy.name!r}")
        self.arguments: dict[str, Any] = {
            "source_vocabulary_size": source_vocabulary_size,
            "target_vocabulary_size": target_vocabulary_size,
            "start_id": start_id,
            "network": network,
        }
        self.start_id = start_id
        self.encoder, self.decoder = network.layers(
            source_vocabulary_size, target_vocabulary_size, self.dtype_policy, cudnn
        )
        self.perplexity = Perplexity()
        self.free_running_perplexity = Perplexity(name="free_running_perplexity")
        self.teacher_forcing = TeacherForcing()
        self.seed, self.micro_batches, self.label_smoothing = 0, 1, 0.0
        self.clip_norm: float | None = None
        self.encoder.build()
        self.decoder.build()
        self.built = True

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        teacher_forcing: TeacherForcing | None = None,
        seed: int = 0,
        clip_norm: float | None = None,
        micro_batches: int = 1,
        label_smoothing: float = 0.0,
        run_eagerly: bool = False,
    ) -> None:
        """Set up training; under a distribution strategy, within its scope.

        Args:
            optimizer: any Keras optimizer that does not clip. With a float16 policy Keras wraps it in a
                `LossScaleOptimizer`.
            teacher_forcing: the ratio's schedule; `None` is pure teacher forcing.
            seed: coins and dropout are a function of this seed and the optimizer's iterations.
            clip_norm: largest global norm of the gradients, after their sum over replicas; `None` for no clipping.
            micro_batches: parts that a replica computes a batch in, one after the other. The update is the same, but
                for the masks of dropout; more parts need less memory and more time.
            label_smoothing: share of the target distribution that is spread over the whole vocabulary (see
                `models.losses`). It changes the gradients; every loss and perplexity that is reported is without it.
            run_eagerly: run the steps without `tf.function`, for debugging.
        """
        if clip_norm is not None and not clip_norm > 0.0:
            raise ValueError(f"clip_norm must be a positive norm or None, got {clip_norm}")
        if micro_batches < 1:
            raise ValueError(f"micro_batches must be a positive number of parts, got {micro_batches}")
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be a share of at least 0 and below 1, got {label_smoothing}")
        check_clipping(optimizer)
        # XLA is off: it would compile anew for every sequence length.
        super().compile(optimizer=optimizer, jit_compile=False, run_eagerly=run_eagerly)
        self.optimizer.build(self.trainable_variables)  # now, so that the first step is traced only once
        self.teacher_forcing = TeacherForcing() if teacher_forcing is None else teacher_forcing
        self.seed, self.clip_norm, self.micro_batches = seed, clip_norm, micro_batches
        self.label_smoothing = label_smoothing

    def kernels(self) -> dict[str, str | None]:
        """Each recurrent layer's path, and why it does not use cuDNN, or `None` if it does."""
        parts = (self.encoder, self.decoder)
        return {f"{part.name}/{layer.name}": layer.why_not_cudnn for part in parts for layer in part.recurrent_layers}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that Keras resets at the start of each epoch."""
        return [self.perplexity, self.free_running_perplexity]

    def call(self, batch: Batch) -> tf.Tensor:
        """See the class."""
        memory = self.encoder(batch["source_ids"], batch["source_lengths"])
        inputs = shift_right(batch["target_ids"], self.start_id)
        return self.decoder.unroll(inputs, batch["target_lengths"], memory).logits

    def decoder_inputs(self, batch: Batch, memory: Any, gold: tf.Tensor, how: RollOut = "exact") -> tf.Tensor:
        """Inputs `[B, T]` of the classic loop under the coins `gold` `[B, T]`; no gradient, no dropout.

        They are the classic loop's exactly, or those of `parallel_roll_out`.
        """
        inputs, lengths = shift_right(batch["target_ids"], self.start_id), batch["target_lengths"]
        if how == "parallel":
            return parallel_roll_out(
                lambda: self.decoder.unroll_features(inputs, lengths, memory).features,
                lambda features: self.decoder.projector()(features),
                inputs,
                gold,
                lengths,
            )
        return roll_out(
            self.decoder.stepper(),
            self.decoder.initial_state(memory),
            self.decoder.prepare(memory),
            inputs,
            gold,
            lengths,
        )

    def cross_entropy(
        self, batch: Batch, inputs: tf.Tensor, memory: Any, dropout_seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Summed negative log-likelihood of the real targets under the decoder inputs `[B, T]`, and their number."""
        nll, _ = self._loss(batch, inputs, memory, dropout_seed, label_smoothing=0.0)
        return nll, tf.cast(tf.reduce_sum(batch["target_lengths"]), nll.dtype)

    def _loss(
        self,
        batch: Batch,
        inputs: tf.Tensor,
        memory: Any,
        dropout_seed: tf.Tensor | None,
        label_smoothing: float,
    ) -> CrossEntropy:
        features = self.decoder.unroll_features(inputs, batch["target_lengths"], memory, dropout_seed).features
        real = tf.sequence_mask(batch["target_lengths"], tf.shape(inputs)[1])
        targets = tf.boolean_mask(batch["target_ids"], real)
        return self.decoder.cross_entropy(tf.boolean_mask(features, real), targets, label_smoothing)

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One update with a replica's part of a batch; Keras and `strategy.run` call it, outside AutoGraph.

        Loss and gradients are sums over the tokens of all replicas and micro-batches, divided once by the number of
        those tokens; then the gradients are clipped; then every replica makes the same update.

        Returns:
            Of the whole batch: `loss` in nats a token, without label smoothing, `tokens`, `gradient_norm` before
            clipping, `teacher_forcing` (the ratio), `padding` (share of the padded matrices). Of this replica alone:
            `perplexity` since the metric was reset.
        """
        iteration = self.optimizer.iterations
        ratio = self.teacher_forcing.ratio(iteration)
        seed = tf.stack([self.seed, tf.cast(iteration, tf.int32)])
        gold = self._coins(ratio, tf.shape(batch["target_ids"]), seed)
        real, every = token_counts(batch, self.variable_dtype)
        tokens = tf.cast(tf.reduce_sum(batch["target_lengths"]), self.variable_dtype)
        all_tokens, all_real, all_cells = replicas.total([tokens, real, every])
        scale = loss_scale(self.optimizer)
        weight = tf.cast(scale, all_tokens.dtype) / tf.maximum(all_tokens, 1.0)
        size = -(-tf.shape(gold)[0] // self.micro_batches)

        def part(index: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            begin, end = index * size, (index + 1) * size
            dropout_seed = fold_in(seed, replicas.index(), index)
            nll, gradients = self._gradients(slice_rows(batch, begin, end), gold[begin:end], weight, dropout_seed)
            return nll, gradients

        variables = self.trainable_variables
        nll, gradients = accumulate(part, self.micro_batches)
        self.perplexity.update_state(nll, tokens)
        nll, *gradients = replicas.total([nll, *gradients])
        gradients, norm = clip(gradients, self.clip_norm, scale)
        apply_reduced(self.optimizer, gradients, variables)
        return {
            "loss": nll / tf.maximum(all_tokens, 1.0),
            "perplexity": self.perplexity.result(),
            "teacher_forcing": ratio,
            "tokens": all_tokens,
            "gradient_norm": norm,
            "padding": 1.0 - all_real / tf.maximum(all_cells, 1.0),
        }

    def _coins(self, ratio: tf.Tensor, shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """This replica's rows of the whole batch's coins: `[B, T]`, the same as one replica would draw."""
        if self.teacher_forcing.coin == "batch":
            return draw_coins(ratio, shape, "batch", seed)
        before, every = replicas.place(shape[0])
        return draw_coins(ratio, tf.stack([every, shape[1]]), "token", seed)[before : before + shape[0]]

    def _gradients(
        self, batch: Batch, gold: tf.Tensor, weight: tf.Tensor, dropout_seed: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Summed nll of a batch under the coins `gold`, and the dense gradients of `weight` times its loss."""
        encoder_seed, decoder_seed = (fold_in(dropout_seed, part) for part in range(2))
        with tf.GradientTape() as tape:
            memory = self.encoder(batch["source_ids"], batch["source_lengths"], encoder_seed)
            with tape.stop_recording():
                inputs = self.decoder_inputs(batch, memory, gold, self.teacher_forcing.roll_out)
            loss, nll = self._loss(batch, inputs, memory, decoder_seed, self.label_smoothing)
            loss *= weight
        # Dense, because Keras' optimizers do not add up the repeated rows of an embedding's sparse gradient.
        return nll, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, self.trainable_variables)]

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Both perplexities: teacher forced, and with the model fed its own argmax."""
        memory = self.encoder(batch["source_ids"], batch["source_lengths"])
        for metric, inputs in zip(self.metrics, self._test_inputs(batch, memory), strict=True):
            metric.update_state(*self.cross_entropy(batch, inputs, memory))
        return {metric.name: metric.result() for metric in self.metrics}

    def pair_nll(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Negative log-likelihood of each pair, teacher forced and fed its own argmax: `[B]` float32 each.

        Their sums are what `test_step` adds up.
        """
        memory = self.encoder(batch["source_ids"], batch["source_lengths"])
        lengths = batch["target_lengths"]

        def nll(inputs: tf.Tensor) -> tf.Tensor:
            features = self.decoder.unroll_features(inputs, lengths, memory).features
            return sequence_nll(self.decoder.projector(), features, batch["target_ids"], lengths)

        forced, own = self._test_inputs(batch, memory)
        return nll(forced), nll(own)

    def _test_inputs(self, batch: Batch, memory: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Decoder inputs `[B, T]`: the reference, and the model's own argmax."""
        forced = shift_right(batch["target_ids"], self.start_id)
        return forced, self.decoder_inputs(batch, memory, tf.zeros_like(forced, tf.bool))

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        network = keras.saving.serialize_keras_object(self.arguments["network"])
        return {"name": self.name, "dtype": self.dtype_policy.name, **self.arguments, "network": network}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The inverse of `get_config`."""
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})
