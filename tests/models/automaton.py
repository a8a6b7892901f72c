"""A random language model with memory and attention, for tests of the search: as a step function, and in NumPy."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from models.beam_search import BeamSearchResult, beam_search
from models.candidates import least_choices
from models.search_options import Prefix, SearchOptions, SpecialIds
from models.states import Step
from tests.reference import log_softmax
from tests.reference_search import Rules, Tokens

PAD, UNKNOWN, START, END = 0, 1, 2, 3
VOCABULARY = 7
SOURCE = 5


class Memory(NamedTuple):
    """What differs by sentence."""

    tables: tf.Tensor  # [B, 4, V]
    keys: tf.Tensor  # [B, 4, S]
    lengths: tf.Tensor  # [B]


class Automaton:
    """The state is a vector, so a wrongly gathered state changes every result; so does a wrongly gathered memory.

    Sentence b's logits are `tanh(state) @ tables[b]`, its attention `softmax(tanh(state) @ keys[b])`.
    """

    def __init__(self, sentences: int, seed: int, vocabulary: int = VOCABULARY) -> None:
        generator = np.random.default_rng(seed)
        self.tables = generator.normal(size=(sentences, 4, vocabulary)).astype("float32") * 2.0
        self.keys = generator.normal(size=(sentences, 4, SOURCE)).astype("float32") * 2.0
        self.embeddings = generator.normal(size=(vocabulary, 4)).astype("float32")
        self.lengths = generator.integers(1, SOURCE + 1, sentences).astype("int32")

    def only(self, sentence: int) -> "Automaton":
        """The model of one of the sentences alone."""
        alone = Automaton(0, 0)
        place = slice(sentence, sentence + 1)
        alone.tables, alone.keys, alone.lengths = self.tables[place], self.keys[place], self.lengths[place]
        alone.embeddings = self.embeddings
        return alone

    def step(self, token_ids: tf.Tensor, state: tf.Tensor, memory: Memory) -> Step:
        vector = tf.tanh(0.7 * state + tf.gather(self.embeddings, token_ids))
        sentence = tf.range(tf.size(token_ids)) * tf.size(memory.lengths) // tf.maximum(tf.size(token_ids), 1)
        logits = tf.einsum("bh,bhv->bv", vector, tf.gather(memory.tables, sentence))
        scores = tf.einsum("bh,bhs->bs", vector, tf.gather(memory.keys, sentence))
        real = tf.sequence_mask(tf.gather(memory.lengths, sentence), SOURCE)
        return Step(logits, vector, tf.nn.softmax(tf.where(real, scores, -1e9)))

    def choosing(self, token_ids: tf.Tensor, state: tf.Tensor, memory: tuple[Memory, tf.Tensor]) -> Step:
        """A step whose logits are of the columns `[B, C]` alone, -inf where they are -1."""
        logits, state, attention = self.step(token_ids, state, memory[0])
        columns = tf.repeat(memory[1], tf.shape(logits)[0] // tf.shape(memory[1])[0], axis=0)
        some = tf.gather(logits, tf.maximum(columns, 0), batch_dims=1)
        return Step(tf.where(columns < 0, float("-inf"), some), state, attention)

    def model(self, sentence: int, tokens: Tokens, choices: Tokens | None = None) -> tuple[np.ndarray, np.ndarray]:
        """See `tests.reference_search.Model`; with choices, probabilities are among these."""
        vector = np.zeros(4, "float32")
        for token in (START, *tokens):
            vector = np.tanh(np.float32(0.7) * vector + self.embeddings[token])
        scores = (vector @ self.keys[sentence])[: self.lengths[sentence]].astype("float64")
        logits = (vector @ self.tables[sentence]).astype("float64")
        if choices is not None:
            logits[[token for token in range(VOCABULARY) if token not in choices]] = -np.inf
        return log_softmax(logits), np.exp(log_softmax(scores))

    def search(
        self, rules: list[Rules], beam_size: int, n_best: int, graph: bool = False, **more: Any
    ) -> BeamSearchResult:
        """The search under test; the sentences' rules may differ in longest length, prefix and choices."""
        first = rules[0]
        options = SearchOptions(
            beam_size=beam_size,
            n_best=n_best,
            length_normalization=first.normalization,
            length_penalty=first.alpha,
            coverage_penalty=first.beta,
            min_length=first.min_length,
            no_repeat_ngram=first.ngram,
            never=first.never,
            banned=first.banned,
            stop_after=first.stop_after,
            alignment=True,
        )
        longest = max(len(each.prefix) for each in rules)
        padded = [[*each.prefix, *[PAD] * (longest - len(each.prefix))] for each in rules]
        prefix = Prefix(
            tf.constant(padded, tf.int32, [len(rules), longest]), tf.constant([len(r.prefix) for r in rules])
        )

        memory = Memory(*map(tf.constant, (self.tables, self.keys, self.lengths)))
        choices = None
        if first.choices is not None:
            least = max(least_choices(options), *(len(each.choices or ()) for each in rules))
            rows = [sorted(each.choices or ()) for each in rules]
            choices = tf.constant([row + [VOCABULARY - 1] * (least - len(row)) for row in rows])
            columns = tf.constant([row + [-1] * (least - len(row)) for row in rows])

        def run() -> BeamSearchResult:
            return beam_search(
                self.step if choices is None else self.choosing,
                tf.zeros([len(rules), 4]),
                memory if choices is None else (memory, columns),
                max_lengths=tf.constant([each.max_length for each in rules]),
                special=SpecialIds(START, END, PAD),
                options=options,
                prefix=prefix if longest else None,
                source_lengths=tf.constant(self.lengths),
                choices=choices,
                **more,
            )

        return (tf.function(run) if graph else run)()


def hypotheses(result: BeamSearchResult, sentence: int) -> list[Tokens]:
    """Those of a sentence that exist, best first."""
    rows = zip(result.ids[sentence].numpy(), result.lengths[sentence].numpy(), result.scores[sentence], strict=True)
    return [tuple(ids[:length].tolist()) for ids, length, score in rows if score > -np.inf]
