"""Text in, text out: the graph that is exported and served."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from models.beam_search import BeamSearchResult, beam_search
from models.decoder import Decoder
from models.seq2seq import Seq2Seq
from models.sequences import pad, with_end
from models.teacher_forcing import shift_right
from preprocessing.special_tokens import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID
from preprocessing.text import TextProcessor

TEXT = tf.TensorSpec([None], tf.string, name="text")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """The options of the search; they are constants of the graph."""

    beam_size: int = 5
    """Live hypotheses per sentence; 1 is greedy search."""
    n_best: int = 5
    """Translations that `n_best` returns, at most `beam_size`."""
    length_penalty: float = 1.0
    """Exponent alpha of `models.beam_search.length_penalty`."""
    max_length_factor: float = 2.0
    """A translation has at most `max_length_factor * source tokens + max_length_constant` tokens."""
    max_length_constant: int = 10
    """See `max_length_factor`."""
    allow_unknown: bool = False
    """Whether a translation may hold the unknown token."""


class Networks:
    """The layers, hidden from TensorFlow's tracking of attributes."""

    def __init__(self, encoder: keras.layers.Layer, decoder: Decoder) -> None:
        self.encoder = encoder
        self.decoder = decoder


class Translator(tf.Module):
    """Translates batches of strings with beam search.

    It holds the encoder, the decoder and both text processors, so a SavedModel of it needs no file and no code of ours.

    Args:
        model: a trained model; later changes of its weights are followed until export.
        source: text processing of the source side, with the vocabulary that `model` was trained on.
        target: the same for the target side.
        options: the search.

    Raises:
        ValueError: a vocabulary's size is not the model's.
    """

    def __init__(self, model: Seq2Seq, source: TextProcessor, target: TextProcessor, options: SearchOptions) -> None:
        super().__init__(name="translator")
        for side, processor in (("source", source), ("target", target)):
            expected = model.arguments[f"{side}_vocabulary_size"]
            if processor.vocabulary_size != expected:
                raise ValueError(
                    f"{side} must have the {expected} tokens that the model was trained on, "
                    f"got a vocabulary of {processor.vocabulary_size}"
                )
        # A SavedModel that tracks Keras layers restores into copies that its functions do not read, wherever it is
        # loaded through a Session, as TF Serving does. So the plain variables are tracked, and the layers are not.
        self.weights = [weight.value for weight in (*model.encoder.weights, *model.decoder.weights)]
        self.networks = Networks(model.encoder, model.decoder)
        self.source = source
        self.target = target
        self.options = options
        # Not a method: saving would trace it for networks that have no attention, too.
        self.attention = (
            tf.function(self._attend, input_signature=[TEXT], autograph=False) if self.has_attention else None
        )

    @tf.function(input_signature=[TEXT], autograph=False)
    def translate(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best translation.

        Args:
            text: `[B]` string, UTF-8; broken bytes become U+FFFD. B may be 0.

        Returns:
            `translation` `[B]` string. A text without any token (empty, or only white space) translates to an empty
            one.
        """
        translations, _ = self._search(text, n_best=1)
        return {"translation": translations[:, 0]}

    @tf.function(input_signature=[TEXT], autograph=False)
    def n_best(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best N translations of each text `[B]`, best first.

        Returns:
            `translations` `[B, N]` string, and `scores` `[B, N]` float32: log-probabilities in nats, divided by the
            length penalty. Where fewer than N translations exist, the rest are empty with score -inf; a text without
            any token has N empty translations with score 0.
        """
        translations, scores = self._search(text, n_best=self.options.n_best)
        return {"translations": translations, "scores": scores}

    def _attend(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best translation of each text `[B]`, and which source tokens each of its tokens looked at.

        The last token of either side is the end token. Of a network with several heads or layers the weights are the
        mean of the last layer's heads, of an ensemble the mean of its members.

        Returns:
            `translation` `[B]`, `source_tokens` `[B, S]` and `target_tokens` `[B, T]` string, padded with empty ones;
            `weights` `[B, T, S]` float32, which add up to 1 over S, zero in the padding.
        """
        ids = self.source.encode(text)
        source_ids, source_lengths = pad(with_end(ids, END_ID), PADDING_ID)
        memory = self.networks.encoder(source_ids, source_lengths)
        result = self._hypotheses(memory, source_lengths, n_best=1)
        lengths = tf.where(ids.row_lengths() == 0, 0, result.lengths[:, 0])
        best = tf.RaggedTensor.from_tensor(result.ids[:, 0], lengths=lengths)
        target_ids, target_lengths = pad(with_end(best, END_ID), PADDING_ID)
        inputs = shift_right(target_ids, START_ID)
        weights = self.networks.decoder.unroll_features(inputs, target_lengths, memory).attention
        real = tf.sequence_mask(target_lengths, tf.shape(target_ids)[1])[:, :, tf.newaxis]
        end = SPECIAL_TOKENS[END_ID]
        source_tokens = tf.concat([self.source.tokens_of(text), tf.fill([ids.nrows(), 1], end)], axis=1)
        return {
            "translation": self.target.decode(best),
            "source_tokens": source_tokens.to_tensor(""),
            "target_tokens": tf.where(real[:, :, 0], tf.gather(tf.constant(self.target.tokens), target_ids), ""),
            "weights": tf.where(real, tf.cast(weights, tf.float32), 0.0),
        }

    @property
    def has_attention(self) -> bool:
        """Whether there is a signature `attention`."""
        return self.networks.decoder.has_attention

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        """The SavedModel's signatures by name."""
        shown = {} if self.attention is None else {"attention": self.attention}
        return {"serving_default": self.translate, "n_best": self.n_best, **shown}

    def _search(self, text: tf.Tensor, n_best: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Translations and scores, `[B, N]` each."""
        ids = self.source.encode(text)
        source_ids, source_lengths = pad(with_end(ids, END_ID), PADDING_ID)
        result = self._hypotheses(self.networks.encoder(source_ids, source_lengths), source_lengths, n_best)
        flat_ids = tf.reshape(result.ids, [-1, tf.shape(result.ids)[-1]])  # --> [B N, L]
        hypotheses = tf.RaggedTensor.from_tensor(flat_ids, lengths=tf.reshape(result.lengths, [-1]))
        translations = tf.reshape(self.target.decode(hypotheses), [-1, n_best])
        empty = (ids.row_lengths() == 0)[:, tf.newaxis]
        return tf.where(empty, "", translations), tf.where(empty, 0.0, result.scores)

    def _hypotheses(self, memory: Any, source_lengths: tf.Tensor, n_best: int) -> BeamSearchResult:
        decoder = self.networks.decoder
        tokens = tf.cast(source_lengths - 1, tf.float32)  # without the end token
        max_lengths = tf.cast(self.options.max_length_factor * tokens, tf.int32) + self.options.max_length_constant
        steps, prepared = decoder.stepper(), decoder.prepare(memory)

        def step(token_ids: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
            logits, state, _ = steps.step(token_ids, state, prepared)
            return logits, state

        banned = [PADDING_ID, START_ID] + ([] if self.options.allow_unknown else [UNKNOWN_ID])
        return beam_search(
            step,
            decoder.initial_state(memory),
            max_lengths=max_lengths,
            start_id=START_ID,
            end_id=END_ID,
            padding_id=PADDING_ID,
            beam_size=self.options.beam_size,
            n_best=n_best,
            alpha=self.options.length_penalty,
            banned_ids=banned,
        )
