"""A frozen translator: the same answers of fewer bytes, in a server that takes all kernels for weights, too."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from models.candidates import CHUNK
from models.shortlist import ShortlistTable
from preprocessing.special_tokens import SPECIAL_TOKENS
from serving.versions import newest_version
from tests.serving.conftest import ATTENTION, CHARACTERS, MEMBERS, WORDS, export_demo, make_translator

TEXTS = ["ein hund", "", "schön 😀", "x"]

SERVER = """
import json, sys
from pathlib import Path
import numpy as np
import tensorflow as tf
from serving.server.servable import Servable

@tf.function
def affine(kernel):
    return tf.nn.bias_add(tf.matmul(tf.ones([5, 512]), kernel), tf.ones([512]))

kernels = [tf.random.normal([512, 512], seed=seed) for seed in (1, 2)]
takes_the_first = bool(tf.reduce_all(affine(kernels[0]) == affine(kernels[1])))
servable = Servable(Path(sys.argv[1]))
inputs = [{"text": np.array([text.encode()], object)} for text in json.loads(sys.argv[2])]
outputs = "translations", "scores"
answers = [servable.run("n_best", one, outputs) for one in inputs]
answers = [[answer[name][0].tolist() for name in outputs] for answer in answers]
print(json.dumps([takes_the_first, answers], default=bytes.decode))
"""


def stored(version) -> list[tuple[str, int]]:
    """Of each variable of a SavedModel its type, and how many numbers it holds."""
    reader = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    return [(types[name].name, int(np.prod(shapes[name]))) for name in shapes if types[name].is_floating]


@pytest.mark.parametrize("network", [ATTENTION, MEMBERS[3]], ids=["recurrent", "transformer"])
def test_a_frozen_translator_answers_alike(network):
    plain, frozen = (make_translator(network, "mixed_bfloat16", frozen=frozen) for frozen in (False, True))
    texts = tf.constant(TEXTS)
    numbers = {"seed": [1, 2, 3, 4], "temperature": [1.0] * 4, "top_k": [0] * 4, "top_p": [1.0] * 4}
    for signature in ("n_best", "sample", "score"):
        function = frozen.signatures()[signature]
        asked = {
            spec.name: tf.constant(numbers[spec.name], spec.dtype) if spec.name in numbers else texts
            for spec in function.input_signature
        }
        for key, expected in plain.signatures()[signature](**asked).items():
            found = function(**asked)[key]
            if expected.dtype == tf.string:
                assert (found == expected).numpy().all(), (signature, key)
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=f"{signature} {key}")


def test_an_export_holds_each_weight_once_and_in_its_products_type(tmp_path):
    network = dataclasses.replace(ATTENTION, tied="none", layer_norm=False)
    model = make_translator(network).search
    numbers = sum(weight.shape.num_elements() for part in (model.encoder, model.decoder) for weight in part.weights)
    embeddings = sum(part.embedding.embeddings.shape.num_elements() for part in (model.encoder, model.decoder))
    rest, bridge = -len(WORDS) % CHUNK, model.decoder.bridge.bias.shape.num_elements()
    # What is looked up, and what is added to float32.
    plain = embeddings + len(WORDS) + bridge
    expected = {"float32": plain + rest, "bfloat16": numbers - plain + rest * network.output_size}
    found = stored(export_demo(make_translator(network, "mixed_bfloat16"), tmp_path / "demo"))
    assert {kind: sum(size for one, size in found if one == kind) for kind, _ in found} == expected


def test_changed_weights_are_followed_unless_frozen():
    for frozen in (False, True):
        translator = make_translator(ATTENTION, "mixed_bfloat16", frozen=frozen)
        before = translator.translate(tf.constant(TEXTS))["translation"]
        for layer in translator.search.decoder.stack.layers:
            layer.set_weights([-weight for weight in layer.get_weights()])
        assert (translator.translate(tf.constant(TEXTS))["translation"] == before).numpy().all() == frozen


def test_where_all_kernels_are_taken_for_weights_a_shortlist_is_each_requests_own(tmp_path):
    """Each letter brings two words, so that texts differ in what they may be made of, and not in how many."""
    special, words = len(SPECIAL_TOKENS), len(WORDS) - len(SPECIAL_TOKENS)
    bring = special + (2 * np.arange(len(CHARACTERS))[:, np.newaxis] + np.arange(2)) % words
    bring[:special] = 0
    shortlist = ShortlistTable(bring.astype(np.int32), np.arange(special, dtype=np.int32))
    texts = ["a", "b", "c", "d", "a", "c"]
    translator = make_translator(ATTENTION, shortlist=shortlist, min_length=3)
    expected = [translator.n_best(tf.constant([text])) for text in texts]
    assert len({answer["translations"][0, 0].numpy() for answer in expected}) > 2
    version = newest_version(export_demo(translator, tmp_path / "demo").parent)
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(version), json.dumps(texts)],
        env={**os.environ, "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    takes_the_first, answers = json.loads(done.stdout)
    for answer, (translations, scores) in zip(expected, answers, strict=True):
        assert [one.encode() for one in translations] == answer["translations"][0].numpy().tolist()
        np.testing.assert_allclose(scores, answer["scores"][0], rtol=1e-2, atol=1e-2)
    if not takes_the_first:
        pytest.skip("here oneDNN takes no kernel for a weight, so the answers prove nothing")
