"""Text in, text out: the graph that is exported and served."""

import dataclasses

import numpy as np
import tensorflow as tf

from models.candidates import CHUNK
from models.frozen_weights import freeze
from models.losses import sequence_nll
from models.search_options import Sampling
from models.seq2seq import Seq2Seq
from models.sequences import pad, with_end
from models.shortlist import ShortlistTable
from models.teacher_forcing import shift_right
from preprocessing.special_tokens import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID
from preprocessing.text import TextProcessor
from serving.text_search import TextSearch
from serving.translation_options import TranslationOptions


def _input(name: str, dtype: tf.DType = tf.string) -> tf.TensorSpec:
    return tf.TensorSpec([None], dtype, name=name)


TEXT = _input("text")


class Translator(tf.Module):
    """Translates batches of strings.

    It holds the encoder, the decoder and both text processors, so a SavedModel of it needs no file and no code of ours.
    Every input and output has the batch first, and no text's answer depends on the others. Where a text holds no token
    at all (it is empty, or only white space), its translation is empty. Of a text with more tokens than
    `options.max_tokens` only these are read, and the output `truncated` is true, or it is refused, and with it its
    batch; `translate`, which has one output lest a client have to unpack it, does not say so.

    Args:
        model: a trained model.
        source: text processing of the source side, with the vocabulary that `model` was trained on.
        target: the same for the target side.
        options: the search.
        shortlist: which target tokens the search of a text chooses from; `None` for all. Scores are then among these.
            `sample` and `score` do without.
        frozen: whether the model's weights will not change any more, here and wherever else it is used, so that what
            follows from them is computed once (see `models.frozen_weights`); otherwise changes are followed until
            export.

    Raises:
        ValueError: a vocabulary's size is not the model's, or an option or the shortlist does not suit the model.
    """

    def __init__(
        self,
        model: Seq2Seq,
        source: TextProcessor,
        target: TextProcessor,
        options: TranslationOptions,
        shortlist: ShortlistTable | None = None,
        frozen: bool = False,
    ) -> None:
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
        if shortlist is not None:
            _check_shortlist(shortlist, source.vocabulary_size, target.vocabulary_size)
            # Variables: each signature would have its own copy of a constant.
            shortlist = ShortlistTable(*(tf.Variable(part, trainable=False) for part in shortlist))
            self.weights += list(shortlist)
        self.search = TextSearch(model.encoder, model.decoder, source, target, shortlist)
        self.source = source
        self.target = target
        self.options = options.in_ids(target)
        if self.options.attends and not self.has_attention:
            raise ValueError(
                "options must not ask for coverage_penalty or replace_unknown of a model without attention"
            )
        units = {source.config.unit, target.config.unit}
        if options.replace_unknown and units != {"word"}:
            raise ValueError(f"replace_unknown must be false unless both sides are words, got units {sorted(units)}")
        if frozen:
            freeze(model.encoder, model.decoder)
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
            `translation` `[B]` string.
        """
        return {"translation": self.search.find(text, self._best).translations[:, 0]}

    @tf.function(input_signature=[TEXT], autograph=False)
    def n_best(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best N translations of each text `[B]`, best first.

        Returns:
            `translations` `[B, N]` string, and `scores` `[B, N]` float32, see `models.ranking`. Where fewer than N
            translations exist, the rest are empty with score -inf; a text without any token has N empty translations
            with score 0. `truncated` `[B]` bool, see the class.
        """
        found = self.search.find(text, self.options)
        return {"translations": found.translations, "scores": found.scores, "truncated": found.truncated}

    @tf.function(input_signature=[TEXT, _input("prefix")], autograph=False)
    def complete(self, text: tf.Tensor, prefix: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best translation that begins with a given text.

        Args:
            text: `[B]` string.
            prefix: `[B]` string, empty for none. Its tokens come first as they are, so that of words the last one is
                not gone on with, but of subwords and characters it may be. Unknown words are written as they were
                given, unknown characters of subwords as the unknown token.

        Returns:
            `translation` `[B]` string, with the prefix, in its normalised form; `truncated`.
        """
        with tf.control_dependencies([_one_for_each_text(text, prefix=prefix)]):
            found = self.search.find(text, self._best, prefix)
        return {"translation": found.translations[:, 0], "truncated": found.truncated}

    @tf.function(
        input_signature=[
            TEXT,
            _input("seed", tf.int64),
            _input("temperature", tf.float32),
            _input("top_k", tf.int32),
            _input("top_p", tf.float32),
        ],
        autograph=False,
    )
    def sample(
        self, text: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """A translation drawn at random, token by token; see `models.sampling`.

        Args:
            text: `[B]` string.
            seed: `[B]`: a text and a seed have one answer, whatever else is in the batch.
            temperature: `[B]`, positive; 1 samples from the model, less is closer to its favourites.
            top_k: `[B]`, only the most likely so many tokens; 0 = all.
            top_p: `[B]`, from 0 to 1, only the fewest tokens with so much probability; 1 = all.

        Returns:
            `translation` `[B]` string and the `log_probability` `[B]` float32 of its tokens in nats, as `score` gives
            it (0 for a text without any token); `truncated`.
        """
        checks = [
            _one_for_each_text(text, seed=seed, temperature=temperature, top_k=top_k, top_p=top_p),
            tf.debugging.assert_positive(temperature, "temperature must be positive"),
            tf.debugging.assert_less_equal(temperature, temperature.dtype.max, "temperature must be finite"),
            tf.debugging.assert_non_negative(top_k, "top_k must not be negative"),
            tf.debugging.assert_non_negative(top_p, "top_p must not be negative"),
            tf.debugging.assert_less_equal(top_p, 1.0, "top_p must be at most 1"),
        ]
        with tf.control_dependencies([check for check in checks if check is not None]):
            options = dataclasses.replace(self._best, beam_size=1, coverage_penalty=0.0)
            found = self.search.find(text, options, sampling=Sampling(seed, temperature, top_k, top_p))
        return {
            "translation": found.translations[:, 0],
            "log_probability": found.log_probabilities[:, 0],
            "truncated": found.truncated,
        }

    @tf.function(input_signature=[_input("source"), _input("target")], autograph=False)
    def score(self, source: tf.Tensor, target: tf.Tensor) -> dict[str, tf.Tensor]:
        """How likely given translations are.

        Args:
            source: `[B]` string.
            target: `[B]` string, translations.

        Returns:
            `log_probability` `[B]` float32, in nats, of each target and its end; `tokens` `[B]` int32, how many those
            are; `perplexity` `[B]` float32, of a token; `truncated`, of source or target.
        """
        with tf.control_dependencies([_one_for_each_text(source, target=target)]):
            sources, targets = (
                self.search.read(side, text, self.options)
                for side, text in ((self.source, source), (self.target, target))
            )
        memory = self.search.encode(sources.ids).memory
        target_ids, lengths = pad(with_end(targets.ids, END_ID), PADDING_ID)
        decoder = self.search.decoder
        features = decoder.unroll_features(shift_right(target_ids, START_ID), lengths, memory).features
        total = sequence_nll(decoder.projector(CHUNK), features, target_ids, lengths)
        return {
            "log_probability": -total,
            "tokens": lengths,
            "perplexity": tf.exp(total / tf.cast(lengths, tf.float32)),
            "truncated": sources.truncated | targets.truncated,
        }

    def _attend(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best translation of each text `[B]`, and which source tokens each of its tokens looked at.

        The last token of either side is the end token. Of a network with several heads or layers the weights are the
        mean of the last layer's heads, of an ensemble the mean of its members.

        Returns:
            `translation` `[B]`, `source_tokens` `[B, S]` and `target_tokens` `[B, T]` string, padded with empty ones;
            `weights` `[B, T, S]` float32, which add up to 1 over S, zero in the padding; `truncated`.
        """
        ids, truncated = self.search.read(self.source, text, self.options)
        encoded = self.search.encode(ids)
        result = self.search.hypotheses(encoded, self._best)
        empty = ids.row_lengths() == 0
        lengths = tf.where(empty, 0, result.lengths[:, 0])
        best = tf.RaggedTensor.from_tensor(result.ids[:, 0], lengths=lengths)
        target_ids, target_lengths = pad(with_end(best, END_ID), PADDING_ID)
        inputs = shift_right(target_ids, START_ID)
        weights = self.search.decoder.unroll_features(inputs, target_lengths, encoded.memory).attention
        real = tf.sequence_mask(target_lengths, tf.shape(target_ids)[1])[:, :, tf.newaxis]
        end = SPECIAL_TOKENS[END_ID]
        source_tokens = tf.concat(
            [self.search.tokens(self.source, text, self.options), tf.fill([ids.nrows(), 1], end)], axis=1
        )
        return {
            "translation": tf.where(empty, "", self.search.texts(text, result, self.options)[:, 0]),
            "source_tokens": source_tokens.to_tensor(""),
            "target_tokens": tf.where(real[:, :, 0], tf.gather(tf.constant(self.target.tokens), target_ids), ""),
            "weights": tf.where(real, tf.cast(weights, tf.float32), 0.0),
            "truncated": truncated,
        }

    @property
    def has_attention(self) -> bool:
        """Whether there is a signature `attention`."""
        return self.search.decoder.has_attention

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        """The SavedModel's signatures by name."""
        shown = {} if self.attention is None else {"attention": self.attention}
        return {
            "serving_default": self.translate,
            "n_best": self.n_best,
            "complete": self.complete,
            "sample": self.sample,
            "score": self.score,
            **shown,
        }

    def trace(self) -> None:
        """Trace all signatures, and hold the variables that they read and no others: what a SavedModel has to hold."""
        traces = [function.get_concrete_function() for function in self.signatures().values()]
        self.weights = list({id(variable): variable for trace in traces for variable in trace.variables}.values())

    @property
    def _best(self) -> TranslationOptions:
        return dataclasses.replace(self.options, n_best=1)


def _check_shortlist(table: ShortlistTable, source_size: int, target_size: int) -> None:
    if len(table.candidates) != source_size:
        raise ValueError(f"shortlist must be of {source_size} source tokens, got {len(table.candidates)}")
    ids = np.concatenate([np.ravel(table.candidates), table.always])
    if ids.min() < 0 or ids.max() >= target_size:
        raise ValueError(f"shortlist must hold ids below {target_size}, got {ids.min()} to {ids.max()}")
    absent = sorted(set(range(len(SPECIAL_TOKENS))) - set(table.always.tolist()))
    if absent:
        raise ValueError(f"shortlist must always hold the special tokens, got none of the ids {absent}")


def _one_for_each_text(text: tf.Tensor, **others: tf.Tensor) -> tf.Operation | None:
    """Checks that a request's inputs have one size."""
    sizes = tf.stack([tf.size(other) for other in others.values()])
    message = f"{', '.join(others)}: expected one for each text"
    return tf.debugging.assert_equal(sizes, tf.size(text), message)
