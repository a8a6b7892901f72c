"""The Transformer of the decoding benchmark in CTranslate2, with Heliograph's weights. Tokens in, tokens out."""

import re
import tempfile
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerSpec
from ctranslate2.specs.common_spec import LayerNormSpec, LinearSpec

from preprocessing.special_tokens import END_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID
from tests.benchmarks.decoding_worker import Translate, take_turns

POSITIONS = 1024  # as many as CTranslate2 reads of a source by default


def specification(weights: dict[str, np.ndarray], heads: int, vocabularies: dict[str, list[str]]) -> TransformerSpec:
    """CTranslate2's description of a model, filled with Heliograph's weights by path."""
    layers = tuple(_layers(weights, side) for side in ("encoder", "decoder"))
    spec = TransformerSpec.from_config(layers, heads, pre_norm=True)
    for side, part, embeddings in (
        ("source", spec.encoder, spec.encoder.embeddings[0]),
        ("target", spec.decoder, spec.decoder.embeddings),
    ):
        name = "encoder" if side == "source" else "decoder"
        embeddings.weight = weights[f"{name}/{side}_embedding/embeddings"]
        # Given, because CTranslate2's own sinusoids count from 1 and have other rates.
        part.position_encodings.encodings = _sinusoids(embeddings.weight.shape[1])
        _norm(part.layer_norm, weights, f"{name}/norm")
        for index, layer in enumerate(part.layer):
            block = f"{name}/block_{index}"
            attentions = [(layer.self_attention, "self_attention", ("queries_keys_values", "output"))]
            if side == "target":
                attentions.append((layer.attention, "cross_attention", ("queries", "keys_values", "output")))
            for attention, kind, maps in attentions:
                _norm(attention.layer_norm, weights, f"{block}/{kind}_norm")
                for linear, map_name in zip(attention.linear, maps, strict=True):
                    _linear(linear, weights, f"{block}/{kind}/{map_name}/")
            _norm(layer.ffn.layer_norm, weights, f"{block}/feed_forward_norm")
            _linear(layer.ffn.linear_0, weights, f"{block}/feed_forward/inner/")
            _linear(layer.ffn.linear_1, weights, f"{block}/feed_forward/outer/")
    _linear(spec.decoder.projection, weights, "decoder/projection_")
    spec.register_source_vocabulary(vocabularies["source"])
    spec.register_target_vocabulary(vocabularies["target"])
    start, end, unknown = (SPECIAL_TOKENS[number] for number in (START_ID, END_ID, UNKNOWN_ID))
    spec.config.bos_token = spec.config.decoder_start_token = start
    spec.config.eos_token, spec.config.unk_token = end, unknown
    spec.config.add_source_eos = True
    spec.config.layer_norm_epsilon = 1e-5
    return spec


def _layers(weights: dict[str, np.ndarray], side: str) -> int:
    return len({match[0] for path in weights if (match := re.match(rf"{side}/block_\d+", path))})


def _linear(spec: LinearSpec, weights: dict[str, np.ndarray], prefix: str) -> None:
    spec.weight, spec.bias = weights[f"{prefix}kernel"].T.copy(), weights[f"{prefix}bias"]


def _norm(spec: LayerNormSpec, weights: dict[str, np.ndarray], path: str) -> None:
    spec.gamma, spec.beta = weights[f"{path}/gain"], weights[f"{path}/bias"]


def _sinusoids(size: int) -> np.ndarray:
    """See `models.transformer.sinusoids`."""
    rates = 10_000.0 ** -(np.arange(0, size, 2) / size)
    angles = np.arange(POSITIONS)[:, np.newaxis] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def load(job: dict[str, Any]) -> dict[int, Translate]:
    """The model of `job["weights"]`, `job["heads"]` and `job["vocabularies"]`, for each of `job["beams"]`."""
    with np.load(job["weights"]) as file, tempfile.TemporaryDirectory() as folder:
        spec = specification(dict(file), job["heads"], job["vocabularies"])
        spec.validate()
        spec.save(folder)
        model = ctranslate2.Translator(folder, compute_type="float32", intra_threads=job["threads"], inter_threads=1)

    def translator(beam: int) -> Translate:
        def translate(sentences: list[str]) -> list[str]:
            sources = [sentence.split(" ") for sentence in sentences]
            longest = 2 * max(map(len, sources)) + 10  # the default of Heliograph's search, of each sentence there
            results = model.translate_batch(sources, beam_size=beam, max_decoding_length=longest, disable_unk=True)
            return [" ".join(result.hypotheses[0]) for result in results]

        return translate

    return {beam: translator(beam) for beam in job["beams"]}


if __name__ == "__main__":
    take_turns(load)
