"""A frozen translator: the same answers of fewer bytes, in a server that takes all kernels for weights, too."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from models.ensemble import EnsembleNetwork
from models.shortlist import ShortlistTable
from pipeline import cli, serving_commands
from pipeline.serving_commands import FROZEN_WEIGHTS
from preprocessing.special_tokens import SPECIAL_TOKENS
from serving.versions import newest_version
from tests.serving.conftest import ATTENTION, CHARACTERS, MEMBERS, WORDS, export_demo, make_translator

TEXTS = ["ein hund", "", "schön 😀", "x"]

SERVER = """
import json, sys
from pathlib import Path
import numpy as np
from serving.server.servable import Servable
servable = Servable(Path(sys.argv[1]))
inputs = [{"text": np.array([text.encode()], object)} for text in json.loads(sys.argv[2])]
outputs = "translations", "scores"
answers = [servable.run("n_best", one, outputs) for one in inputs]
print(json.dumps([[answer[name][0].tolist() for name in outputs] for answer in answers], default=bytes.decode))
"""


def stored(version) -> dict[str, tuple[str, int]]:
    """The variables of a SavedModel: their type and how many numbers they hold."""
    reader = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    return {
        name: (dtype.name, int(np.prod(shapes[name])))
        for name, dtype in reader.get_variable_to_dtype_map().items()
        if dtype.is_floating
    }


@pytest.mark.parametrize(
    ("network", "dtype"),
    [(ATTENTION, "float32"), (EnsembleNetwork(members=MEMBERS), "mixed_bfloat16")],
    ids=["float32", "ensemble bfloat16"],
)
def test_a_frozen_translator_answers_alike(network, dtype):
    plain, frozen = (make_translator(network, dtype, frozen=frozen) for frozen in (False, True))
    inputs = {"text": tf.constant(TEXTS), "source": tf.constant(TEXTS), "target": tf.constant(TEXTS[::-1])}
    for signature in ("n_best", "attention", "score"):
        function = frozen.signatures()[signature]
        asked = {spec.name: inputs[spec.name] for spec in function.input_signature}
        for key, expected in plain.signatures()[signature](**asked).items():
            found = function(**asked)[key]
            if expected.dtype == tf.string:
                assert (found == expected).numpy().all(), key
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=key)


def test_an_export_holds_each_weight_once_and_in_its_products_type(tmp_path):
    sizes = {}
    for frozen in (False, True):
        translator = make_translator(ATTENTION, "mixed_bfloat16", frozen=frozen)
        kinds = stored(export_demo(translator, tmp_path / str(frozen) / "demo")).values()
        sizes[frozen] = {kind: sum(size for one, size in kinds if one == kind) for kind, _ in kinds}
    assert set(sizes[False]) == {"float32"} and set(sizes[True]) == {"float32", "bfloat16"}
    weights = sum(weight.shape.num_elements() for weight in make_translator(ATTENTION).weights)
    assert sizes[False]["float32"] == weights
    # Embeddings, biases of projections and gains stay in float32.
    assert sizes[True]["float32"] < 0.5 * weights
    padded = 64 * (ATTENTION.output_size + 1)
    assert sum(sizes[True].values()) <= weights + padded


def test_changed_weights_are_followed_unless_frozen():
    for frozen in (False, True):
        translator = make_translator(ATTENTION, "mixed_bfloat16", frozen=frozen)
        before = translator.translate(tf.constant(TEXTS))["translation"]
        for layer in (translator.search.encoder, translator.search.decoder):
            layer.set_weights([-weight for weight in layer.get_weights()])
        follows = not (translator.translate(tf.constant(TEXTS))["translation"] == before).numpy().all()
        assert follows or frozen


def test_where_all_kernels_are_taken_for_weights_a_shortlist_is_each_requests_own(tmp_path):
    """Each letter brings two words, so that texts differ in what they may be made of, and not in how many."""
    special, words = len(SPECIAL_TOKENS), len(WORDS) - len(SPECIAL_TOKENS)
    bring = special + (2 * np.arange(len(CHARACTERS))[:, np.newaxis] + np.arange(2)) % words
    bring[:special] = 0
    shortlist = ShortlistTable(bring.astype(np.int32), np.arange(special, dtype=np.int32))
    texts = ["a", "b", "c", "d", "a", "c"]
    translator = make_translator(ATTENTION, shortlist=shortlist, frozen=True, min_length=3)
    expected = [translator.n_best(tf.constant([text])) for text in texts]
    assert len({answer["translations"][0, 0].numpy() for answer in expected}) > 2
    version = newest_version(export_demo(translator, tmp_path / "demo").parent)
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(version), json.dumps(texts)],
        env={**os.environ, FROZEN_WEIGHTS: "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for answer, (translations, scores) in zip(expected, json.loads(done.stdout), strict=True):
        assert [one.encode() for one in translations] == answer["translations"][0].numpy().tolist()
        np.testing.assert_allclose(scores, answer["scores"][0], rtol=1e-3, atol=1e-3)


def test_serve_says_so_before_tensorflow_is_there(tmp_path, monkeypatch):
    seen = []

    def load():
        seen.append(os.environ[FROZEN_WEIGHTS])
        raise KeyboardInterrupt

    monkeypatch.setattr(serving_commands, "load_tensorflow", load)
    for options in ([], ["--frozen-weights"]):
        monkeypatch.setenv(FROZEN_WEIGHTS, "0")
        assert cli.main(["serve", str(tmp_path), *options]) != 0
    assert seen == ["0", "1"]
