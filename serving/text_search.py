"""From source texts to hypotheses, and from hypotheses to texts."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from models.beam_search import BeamSearchResult, beam_search
from models.candidates import CHUNK, least_choices
from models.decoder import Decoder, SearchSteps
from models.search_options import Prefix, Sampling, SpecialIds
from models.sequences import pad, with_end
from models.shortlist import Choices, ShortlistTable, choose
from models.states import Step, StepFunction
from preprocessing.special_tokens import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID
from preprocessing.text import TextProcessor
from serving.translation_options import TranslationOptions

SPECIAL = SpecialIds(START_ID, END_ID, PADDING_ID)


class Found(NamedTuple):
    """What the search found, as text."""

    translations: tf.Tensor  # [B, N] string
    scores: tf.Tensor  # [B, N]
    log_probabilities: tf.Tensor  # [B, N]
    truncated: tf.Tensor  # [B] bool, whether not all of a text was read


class Encoded(NamedTuple):
    """Source sentences and what the encoder makes of them."""

    ids: tf.Tensor  # [B, S] with end tokens, padded on the right
    lengths: tf.Tensor  # [B] with end tokens
    memory: Any


class Read(NamedTuple):
    """Texts as the network sees them."""

    ids: tf.RaggedTensor  # [B, None]
    truncated: tf.Tensor  # [B] bool


class TextSearch:
    """The layers and both text processors, hidden from TensorFlow's tracking of attributes.

    Args:
        encoder: the network's encoder.
        decoder: the network's decoder.
        source: text processing of the source side.
        target: the same for the target side.
        shortlist: which target tokens a source token may be translated with; `None` for all.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: Decoder,
        source: TextProcessor,
        target: TextProcessor,
        shortlist: ShortlistTable | None = None,
    ) -> None:
        self.encoder, self.decoder = encoder, decoder
        self.source, self.target = source, target
        self.shortlist = shortlist

    def read(self, side: TextProcessor, text: tf.Tensor, options: TranslationOptions) -> Read:
        """Texts `[B]` of one side as ids, without end tokens, no more of them than the options allow.

        Raises:
            InvalidArgumentError: when run, if a text is longer and the options refuse that.
        """
        ids = side.encode(text)
        if not options.max_tokens:
            return Read(ids, tf.zeros_like(ids.row_lengths(), tf.bool))
        too_long = ids.row_lengths() > options.max_tokens
        checks = []
        if options.overlong == "refuse":
            longest = tf.reduce_max(tf.concat([[0], tf.cast(ids.row_lengths(), tf.int32)], axis=0))
            message = (
                f"a text has more tokens than {options.max_tokens}, the most that this model was exported for; split "
                "it, or export with a larger search.max_tokens"
            )
            checks = [tf.debugging.assert_less_equal(longest, options.max_tokens, message)]
        with tf.control_dependencies([check for check in checks if check is not None]):
            return Read(ids[:, : options.max_tokens], tf.identity(too_long))

    def tokens(self, side: TextProcessor, text: tf.Tensor, options: TranslationOptions) -> tf.RaggedTensor:
        """The tokens that `read` reads, as they are written: string `[B, None]`."""
        tokens = side.tokens_of(text)
        return tokens[:, : options.max_tokens] if options.max_tokens else tokens

    def encode(self, ids: tf.RaggedTensor) -> Encoded:
        """Source ids `[B, None]` without end tokens, read by the encoder."""
        source_ids, source_lengths = pad(with_end(ids, END_ID), PADDING_ID)
        return Encoded(source_ids, source_lengths, self.encoder(source_ids, source_lengths))

    def find(
        self,
        text: tf.Tensor,
        options: TranslationOptions,
        prefix: tf.Tensor | None = None,
        sampling: Sampling | None = None,
    ) -> Found:
        """The N best translations, or one that is drawn; with a prefix `[B]`, those that begin with it.

        A text without tokens has empty ones, whatever the prefix. `truncated` is also said of the prefix.
        """
        ids, truncated = self.read(self.source, text, options)
        encoded, beginning = self.encode(ids), None
        if prefix is not None:
            given = self.read(self.target, prefix, options)
            beginning = Prefix(*pad(tf.cast(given.ids, tf.int32), PADDING_ID))
            truncated |= given.truncated
        result = self.hypotheses(encoded, options, beginning, sampling)
        empty = (ids.row_lengths() == 0)[:, tf.newaxis]
        return Found(
            tf.where(empty, "", self.texts(text, result, options, prefix)),
            tf.where(empty, 0.0, result.scores),
            tf.where(empty, 0.0, result.log_probabilities),
            truncated,
        )

    def hypotheses(
        self,
        encoded: Encoded,
        options: TranslationOptions,
        prefix: Prefix | None = None,
        sampling: Sampling | None = None,
    ) -> BeamSearchResult:
        """The search's answer, within the shortlist if there is one; samples are drawn from the whole vocabulary."""
        tokens = tf.cast(encoded.lengths - 1, tf.float32)  # without the end token
        steps = self.decoder.search_stepper()
        memory, choices = steps.prepare(encoded.memory), None
        if self.shortlist is None or sampling is not None:
            step = steps.step(self.decoder.projector(CHUNK))
        else:
            given = None if prefix is None else prefix.ids
            chosen = choose(self.shortlist, encoded.ids, self.target.vocabulary_size, least_choices(options), given)
            step, memory, choices = self._step_among(chosen, steps), (memory, chosen.places), chosen.ids
        return beam_search(
            step,
            self.decoder.initial_state(encoded.memory),
            memory,
            max_lengths=tf.cast(options.max_length_factor * tokens, tf.int32) + options.max_length_constant,
            special=SPECIAL,
            options=options,
            prefix=prefix,
            sampling=sampling,
            source_lengths=encoded.lengths,
            choices=choices,
            begin=steps.begin,
        )

    def _step_among(self, chosen: Choices, steps: SearchSteps) -> StepFunction:
        """A step to the logits of a sentence's choices, whose memory is a pair: the decoder's, and the places."""
        project = self.decoder.chooser(chosen.union, CHUNK)

        def step(token_ids: tf.Tensor, state: Any, memory: tuple[Any, tf.Tensor]) -> Step:
            prepared, places = memory
            return steps.step(lambda features: project(features, places))(token_ids, state, prepared)

        return step

    def texts(
        self,
        text: tf.Tensor,
        result: BeamSearchResult,
        options: TranslationOptions,
        prefix: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The hypotheses as text `[B, N]`: unknown words of a prefix as they were given, others as the options say."""
        n_best, longest = result.ids.shape[1], tf.shape(result.ids)[2]
        lengths = tf.reshape(result.lengths, [-1])
        hypotheses = tf.RaggedTensor.from_tensor(tf.reshape(result.ids, [-1, longest]), lengths=lengths)  # [B N, None]
        unknown = tf.fill(tf.shape(result.ids), SPECIAL_TOKENS[UNKNOWN_ID])
        if options.replace_unknown:
            words = self.tokens(self.source, text, options)
            last = tf.cast(tf.maximum(words.row_lengths() - 1, 0), tf.int32)[:, tf.newaxis, tf.newaxis]
            # The end token, which comes after the last word, is no word; a text may have none at all.
            unknown = tf.gather(
                tf.pad(words.to_tensor(""), [[0, 0], [0, 1]]), tf.minimum(result.alignment, last), batch_dims=1
            )
        if prefix is not None:
            given = self.tokens(self.target, prefix, options)[:, :longest].to_tensor("")[:, tf.newaxis]  # --> [B, 1, P]
            given = tf.pad(given, [[0, 0], [0, 0], [0, longest - tf.shape(given)[2]]])
            unknown = tf.where(given == "", unknown, given)
        surfaces = tf.RaggedTensor.from_tensor(tf.reshape(unknown, [-1, longest]), lengths=lengths)
        return tf.reshape(self.target.decode(hypotheses, surfaces), [-1, n_best])
