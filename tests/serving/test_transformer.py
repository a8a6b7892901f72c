"""A Transformer's translator: its cache grows in the search's loop."""

import numpy as np
import tensorflow as tf

from tests.serving.conftest import MEMBERS, make_translator
from tests.serving.test_translator import greedy

NETWORK = MEMBERS[-1]


def test_a_text_is_translated_alike_in_any_batch_and_as_by_a_plain_loop():
    translator = make_translator(NETWORK)
    texts = ["ein hund", "x", "", "Schön! 😀", "a" * 30]
    together = translator.n_best(tf.constant(texts))
    for row, text in enumerate(texts):
        alone = translator.n_best(tf.constant([text]))
        assert (together["translations"][row] == alone["translations"][0]).numpy().all()
        np.testing.assert_allclose(together["scores"][row], alone["scores"][0], atol=1e-4)
    plain = make_translator(NETWORK, beam_size=1, n_best=1, length_penalty=0.0)
    for text in ("ein hund", "a" * 30):
        ids, total = greedy(plain, text)
        answer = plain.n_best(tf.constant([text]))
        assert answer["translations"][0, 0] == plain.target.decode(tf.ragged.constant([ids], tf.int64))[0]
        np.testing.assert_allclose(answer["scores"][0, 0], total, atol=1e-3)
