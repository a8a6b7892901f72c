"""A Transformer's SavedModel through a Session: its cache grows in the search's loop."""

import json
import subprocess
import sys

import numpy as np
import tensorflow as tf

from models.networks import TransformerNetwork
from serving.export import export
from tests.serving.conftest import make_translator
from tests.serving.test_export import BATCHES, CLIENT
from tests.serving.test_translator import greedy

NETWORK = TransformerNetwork(hidden_size=8, num_layers=2, heads=2, feed_forward_size=16, init_scale=1.0)


def test_a_clean_process_gives_the_same_answers_through_a_session(tmp_path):
    translator = make_translator(NETWORK)
    version = export(translator, tmp_path / "demo")
    (tmp_path / "batches.json").write_text(json.dumps(BATCHES))
    command = [sys.executable, "-c", CLIENT, str(version), str(tmp_path / "batches.json"), str(tmp_path / "out.json")]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    for texts, answer in zip(BATCHES, json.loads((tmp_path / "out.json").read_text())["answers"], strict=True):
        expected = translator.n_best(tf.constant(texts, tf.string))
        assert answer["n_best.translations"][1] == [text.decode() for text in expected["translations"].numpy().ravel()]
        np.testing.assert_allclose(answer["n_best.scores"][1], expected["scores"].numpy().ravel(), atol=1e-4)


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
