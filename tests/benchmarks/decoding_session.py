"""Heliograph in the decoding benchmark: an exported SavedModel through a Session, as TF Serving runs it."""

from typing import Any

from pipeline.quiet import filtered_stderr, load_tensorflow
from tests.benchmarks.decoding_worker import Translate, take_turns


def load(job: dict[str, Any]) -> dict[int, Translate]:
    """The SavedModels of `job["models"]`, by beam size."""
    load_tensorflow()
    return {int(beam): _session(path, job["threads"]) for beam, path in job["models"].items()}


def _session(path: str, threads: int) -> Translate:
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  (registers the operations that the graph holds)

    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with filtered_stderr():
        signature = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def["serving_default"]
    text, translation = signature.inputs["text"].name, signature.outputs["translation"].name
    return lambda sentences: [found.decode() for found in session.run(translation, {text: sentences})]


if __name__ == "__main__":
    take_turns(load)
