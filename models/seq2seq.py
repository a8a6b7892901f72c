"""The encoder-decoder as a Keras model whose training step is stochastic teacher forcing."""

from typing import Any, TypedDict

import keras
import tensorflow as tf

from models.decoder import Decoder
from models.encoder import Encoder
from models.losses import token_cross_entropy
from models.metrics import Perplexity
from models.recurrence import CellName
from models.states import SourceMemory
from models.teacher_forcing import TeacherForcing, draw_coins, roll_out, shift_right


class Batch(TypedDict):
    """A batch of pairs; every row ends with the end token and is padded on the right."""

    source_ids: tf.Tensor  # [B, S] int32
    source_lengths: tf.Tensor  # [B] int32
    target_ids: tf.Tensor  # [B, T] int32
    target_lengths: tf.Tensor  # [B] int32


@keras.saving.register_keras_serializable(package="heliograph")
class Seq2Seq(keras.Model):
    """Sequence to sequence with recurrent networks (Sutskever et al. 2014; Cho et al. 2014).

    Args:
        source_vocabulary_size: number of source ids.
        target_vocabulary_size: number of target ids.
        embedding_size: size of the embeddings.
        hidden_size: hidden size of every layer.
        num_layers: layers of the encoder, and of the decoder.
        cell: `"lstm"` or `"gru"`.
        dropout: share of embeddings and of the outputs between layers that training drops.
        init_scale: every weight starts uniform in ±`init_scale`; `None` for Keras' defaults.
        start_id: the target's start token.

    Call arguments:
        batch: a `Batch`.
        training: whether dropout is active.

    Output:
        Logits `[B, T, V]` under pure teacher forcing.
    """

    def __init__(
        self,
        *,
        source_vocabulary_size: int,
        target_vocabulary_size: int,
        embedding_size: int,
        hidden_size: int,
        num_layers: int,
        cell: CellName,
        dropout: float,
        init_scale: float | None,
        start_id: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.compute_dtype == "float16":
            raise ValueError(
                "dtype must be float32, float64 or mixed_bfloat16, got a float16 policy: loss scaling is not built in"
            )
        shared: dict[str, Any] = {
            "embedding_size": embedding_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "cell": cell,
            "dropout": dropout,
            "init_scale": init_scale,
        }
        self.arguments = {
            "source_vocabulary_size": source_vocabulary_size,
            "target_vocabulary_size": target_vocabulary_size,
            "start_id": start_id,
            **shared,
        }
        self.start_id = start_id
        self.encoder = Encoder(vocabulary_size=source_vocabulary_size, dtype=self.dtype_policy, **shared)
        self.decoder = Decoder(vocabulary_size=target_vocabulary_size, dtype=self.dtype_policy, **shared)
        self.perplexity = Perplexity()
        self.free_running_perplexity = Perplexity(name="free_running_perplexity")
        self.teacher_forcing = TeacherForcing()
        self.coin_seed = 0
        self.encoder.build()
        self.decoder.build()
        self.built = True

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        teacher_forcing: TeacherForcing | None = None,
        coin_seed: int = 0,
        run_eagerly: bool = False,
    ) -> None:
        """Set up training.

        Args:
            optimizer: any Keras optimizer; give it `global_clipnorm` to clip.
            teacher_forcing: the ratio's schedule; `None` is pure teacher forcing.
            coin_seed: seeds the coins, which are a function of this seed and the optimizer's iterations.
            run_eagerly: run the steps without `tf.function`, for debugging.
        """
        # XLA is off: it would compile anew for every sequence length.
        super().compile(optimizer=optimizer, jit_compile=False, run_eagerly=run_eagerly)
        self.teacher_forcing = TeacherForcing() if teacher_forcing is None else teacher_forcing
        self.coin_seed = coin_seed

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that Keras resets at the start of each epoch."""
        return [self.perplexity, self.free_running_perplexity]

    def call(self, batch: Batch, training: bool = False) -> tf.Tensor:
        """See the class."""
        memory = self.encoder(batch["source_ids"], batch["source_lengths"], training=training)
        inputs = shift_right(batch["target_ids"], self.start_id)
        return self.decoder.unroll(inputs, batch["target_lengths"], memory, training=training)

    def decoder_inputs(self, batch: Batch, memory: SourceMemory, gold: tf.Tensor) -> tf.Tensor:
        """Inputs `[B, T]` of the classic loop under the coins `gold` `[B, T]`; no gradient, no dropout."""
        return roll_out(
            self.decoder.stepper(),
            self.decoder.initial_state(memory),
            memory,
            shift_right(batch["target_ids"], self.start_id),
            gold,
            batch["target_lengths"],
        )

    def cross_entropy(
        self, batch: Batch, inputs: tf.Tensor, memory: SourceMemory, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Summed loss of the real targets under the decoder inputs `[B, T]`, and their number, as float32 scalars."""
        features = self.decoder.unroll_features(inputs, batch["target_lengths"], memory, training=training)
        real = tf.sequence_mask(batch["target_lengths"], tf.shape(inputs)[1])
        logits = self.decoder.projector()(tf.boolean_mask(features, real))  # --> [N, V], no padding
        return token_cross_entropy(logits, tf.boolean_mask(batch["target_ids"], real))

    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One update; Keras calls it, outside AutoGraph."""
        iteration = self.optimizer.iterations
        ratio = self.teacher_forcing.ratio(iteration)
        seed = tf.stack([self.coin_seed, tf.cast(iteration, tf.int32)])
        gold = draw_coins(ratio, tf.shape(batch["target_ids"]), self.teacher_forcing.coin, seed)
        with tf.GradientTape() as tape:
            memory = self.encoder(batch["source_ids"], batch["source_lengths"], training=True)
            with tape.stop_recording():
                inputs = self.decoder_inputs(batch, memory, gold)
            nll, tokens = self.cross_entropy(batch, inputs, memory, training=True)
            loss = tf.math.divide_no_nan(nll, tokens)
        variables = self.trainable_variables
        # Dense, because Keras' optimizers do not add up the repeated rows of an embedding's sparse gradient.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.perplexity.update_state(nll, tokens)
        return {"loss": loss, "perplexity": self.perplexity.result(), "teacher_forcing": ratio, "tokens": tokens}

    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Both perplexities: teacher forced, and with the model fed its own argmax."""
        memory = self.encoder(batch["source_ids"], batch["source_lengths"])
        gold_inputs = shift_right(batch["target_ids"], self.start_id)
        own_inputs = self.decoder_inputs(batch, memory, tf.zeros_like(gold_inputs, tf.bool))
        for metric, inputs in ((self.perplexity, gold_inputs), (self.free_running_perplexity, own_inputs)):
            metric.update_state(*self.cross_entropy(batch, inputs, memory))
        return {metric.name: metric.result() for metric in self.metrics}

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {"name": self.name, "dtype": self.dtype_policy.name, **self.arguments}
