"""Loads a SavedModel as TF Serving does, through a Session, and answers the requests of its warm-up file.

`serving.validate` runs this file in an isolated process of its own, which imports nothing of ours:

    python -I session_probe.py VERSION ANSWERS LIBRARY...

VERSION is the model's folder, ANSWERS the file that gets a `PredictionLog` for each request, the libraries are those of
TF Text's operations. It prints the milliseconds of each request's second run, one a line.
"""

import sys
import time
from pathlib import Path


def probe(version: str, answers: str, libraries: list[str]) -> None:
    """Answer all requests."""
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    for library in libraries:
        tf.load_op_library(library)
    ours = sorted({"models", "pipeline", "preprocessing", "serving"} & set(sys.modules))
    if ours:
        raise RuntimeError(f"this process is not clean: it has imported {', '.join(ours)}")
    path = str(Path(version, "assets.extra", "tf_serving_warmup_requests"))
    requests = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(path)]
    with tf.compat.v1.Session(graph=tf.Graph()) as session, tf.io.TFRecordWriter(answers) as writer:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], version)
        for log in requests:
            request = log.predict_log.request
            signature = loaded.signature_def[request.model_spec.signature_name]
            feed = {signature.inputs[name].name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            fetches = {name: info.name for name, info in signature.outputs.items()}
            session.run(fetches, feed)  # the first run of a signature is slow
            started = time.perf_counter()
            answer = session.run(fetches, feed)
            print(1000 * (time.perf_counter() - started), flush=True)
            log.predict_log.ClearField("response")
            for name, value in answer.items():
                log.predict_log.response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            writer.write(log.SerializeToString())


if __name__ == "__main__":
    probe(sys.argv[1], sys.argv[2], sys.argv[3:])
