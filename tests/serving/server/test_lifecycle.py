"""Versions that come and go while requests are answered; limits; the end."""

import gzip
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import numpy as np
import pytest

from serving.predictions import WARMUP_FILE, read_warmup, write_warmup
from serving.push import push, roll_back
from serving.server.batching import BatchingOptions
from serving.server.errors import RequestError
from tests.serving.server.conftest import options_for, running
from tests.serving.server.test_wire import predict_request

DEADLINE = 90.0


@pytest.fixture
def base(upper_version, tmp_path):
    """A servable's folder with version 1."""
    push(upper_version, tmp_path / "demo", keep=3)
    return tmp_path / "demo"


def states(endpoint):
    found = endpoint.http.get("/v1/models/demo").json()["model_version_status"]
    return {int(version["version"]): version["state"] for version in found}


def wait_for(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def touched(version, target):
    """A copy of a version with other files, but the same answers."""
    shutil.copytree(version, target)
    (target / "assets.extra" / "note").write_text(target.name)
    return target


def test_versions_are_swapped_without_a_failed_request(upper_version, base, tmp_path):
    failures, answered, stop = [], [0], threading.Event()
    batching = BatchingOptions(max_batch_size=4, batch_timeout_micros=1000)
    with running(options_for(base, batching=batching)) as endpoint:
        expected = {"predictions": ["EIN HUND"]}

        def ask():
            while not stop.is_set():
                answer = endpoint.predict({"instances": ["ein hund"]})
                answered[0] += 1
                if answer.status_code != 200 or answer.json() != expected:
                    failures.append(answer.text)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in (2, 3):
                push(touched(upper_version, tmp_path / str(number)), base, keep=3)
                wait_for(
                    lambda number=number: (
                        states(endpoint) == dict.fromkeys(range(1, number), "END") | {number: "AVAILABLE"}
                    )
                )
            roll_back(base)
            wait_for(lambda: states(endpoint).get(4) == "AVAILABLE")
            before = answered[0]
            wait_for(lambda: answered[0] > before + 5)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert failures == [] and answered[0] > 10


def test_a_broken_version_never_replaces_one_that_serves(upper_version, base, tmp_path):
    with running(options_for(base)) as endpoint:
        broken = touched(upper_version, tmp_path / "broken")
        (broken / "saved_model.pb").write_bytes(b"half")
        push(broken, base, keep=3)
        wait_for(lambda: states(endpoint).get(2) == "END")
        assert states(endpoint) == {1: "AVAILABLE", 2: "END"}
        found = endpoint.http.get("/v1/models/demo/versions/2").json()["model_version_status"][0]
        assert found["status"]["error_code"] != "OK" and "cannot be loaded" in found["status"]["error_message"]
        assert endpoint.predict({"instances": ["x"]}).status_code == 200


@pytest.mark.parametrize("damage", ["warmup", "variables"])
def test_a_damaged_version_does_not_end_the_polling(upper_version, base, tmp_path, damage):
    with running(options_for(base)) as endpoint:
        damaged = touched(upper_version, tmp_path / "damaged")
        if damage == "warmup":
            (damaged / WARMUP_FILE).write_bytes(b"no records at all, but some bytes")
        else:
            shutil.rmtree(damaged / "variables")
        push(damaged, base, keep=3)
        wait_for(lambda: states(endpoint).get(2) == "END")
        push(touched(upper_version, tmp_path / "good"), base, keep=3)
        wait_for(lambda: states(endpoint).get(3) == "AVAILABLE")


def test_a_warmup_request_that_fails_makes_the_load_fail(upper_version, base):
    logs = list(read_warmup(base / "1"))
    logs[0].predict_log.request.model_spec.signature_name = "absent"
    write_warmup(logs, base / "1")
    with pytest.raises(RequestError, match='Serving signature key "absent" not found'), running(options_for(base)):
        pass
    (base / "1" / WARMUP_FILE).unlink()
    with running(options_for(base)) as endpoint:  # it is no duty to have one
        assert endpoint.predict({"instances": ["x"]}).status_code == 200


def test_several_versions_and_labels(upper_version, base, tmp_path):
    push(touched(upper_version, tmp_path / "2"), base, keep=3)
    with running(options_for(base, latest=2, labels={"old": 1, "new": 2})) as endpoint:
        assert states(endpoint) == {2: "AVAILABLE", 1: "AVAILABLE"}
        for label, version in (("old", 1), ("new", 2)):
            assert (
                endpoint.http.post(f"/v1/models/demo/labels/{label}:predict", json={"instances": ["x"]}).status_code
                == 200
            )
            answer = endpoint.prediction.Predict(predict_request(label=label, text=["x"]), timeout=60)
            assert answer.model_spec.version.value == version
        assert endpoint.prediction.Predict(predict_request(text=["x"]), timeout=60).model_spec.version.value == 2


def test_no_version_is_one_clear_line(tmp_path):
    with (
        pytest.raises(RequestError, match="expected versions, folders named by numbers, found none"),
        running(options_for(tmp_path / "demo")),
    ):
        pass


SLOW = {"signature_name": "slow", "instances": [{"text": "x", "turns": 20_000}]}


def test_large_bodies_and_late_answers_are_refused(base):
    with running(options_for(base, max_request_bytes=2000, rest_timeout=0.2)) as endpoint:
        answer = endpoint.predict({"instances": ["x" * 3000]})
        assert answer.status_code == 400 and "larger than 2,000 bytes" in answer.json()["error"]
        bomb = gzip.compress(json.dumps({"instances": ["x" * 100_000]}).encode())
        assert len(bomb) < 2000
        answer = endpoint.predict(bomb, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 400 and "larger than 2,000 bytes" in answer.json()["error"]
        for spoiled in (b"no gzip", gzip.compress(b'{"instances": ["x"]}')[:-3]):
            answer = endpoint.predict(spoiled, headers={"Content-Encoding": "gzip"})
            assert answer.status_code == 400 and "Failed to uncompress" in answer.json()["error"]
        answer = endpoint.predict(SLOW)
        assert answer.status_code == 504 and answer.json()["error"]
        with pytest.raises(grpc.RpcError) as caught:
            endpoint.prediction.Predict(predict_request(text=["x" * 3000]), timeout=60)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as caught:
            endpoint.prediction.Predict(predict_request("slow", text=["x"], turns=np.int32([20_000])), timeout=0.2)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert endpoint.predict({"instances": ["x"]}).json() == {"predictions": ["X"]}


def test_a_full_queue_refuses_at_once(base):
    """One batch is computed, one is in the queue: more are refused, whichever protocol asks."""
    batching = BatchingOptions(max_batch_size=1, batch_timeout_micros=0, max_enqueued_batches=1, num_batch_threads=1)
    turns = 4000
    with running(options_for(base, batching=batching)) as endpoint:

        def ask(number):
            """The status and the words of a refusal."""
            if number % 2:
                answer = endpoint.predict({"signature_name": "slow", "instances": [{"text": "x", "turns": turns}]})
                return answer.status_code, answer.json().get("error", "")
            try:
                endpoint.prediction.Predict(predict_request("slow", text=["x"], turns=np.int32([turns])), timeout=60)
            except grpc.RpcError as error:
                return error.code(), error.details()
            return 200, ""

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(12)))
        assert {status for status, _ in answers} == {200, 503, grpc.StatusCode.UNAVAILABLE}
        assert all("is full; try again later" in words for status, words in answers if status != 200)
        assert endpoint.predict({"instances": ["x"]}).json() == {"predictions": ["X"]}


def test_requests_that_are_put_together_get_their_own_answers(base):
    texts = [f"text {number}" for number in range(20)]
    batching = BatchingOptions(max_batch_size=8, batch_timeout_micros=20_000)
    with running(options_for(base, batching=batching)) as endpoint:
        answers = {}

        def ask(text):
            answers[text] = endpoint.predict({"instances": [text]}).json()

        threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {text: {"predictions": [text.upper()]} for text in texts}
        answer = endpoint.predict({"instances": texts})
        assert answer.status_code == 400
        assert "Task size 20 is larger than maximum input batch size 8" in answer.json()["error"]
        page = endpoint.http.get("/monitoring/prometheus/metrics").text
        (line,) = [line for line in page.splitlines() if "processed_batch_size_count{" in line]
        assert float(line.split()[-1]) < len(texts)


def test_requests_under_way_are_answered_at_the_end(base):
    answers = []
    with running(options_for(base, threads=1)) as endpoint:
        url, asked = endpoint.http.base_url.join("/v1/models/demo:predict"), threading.Event()

        def ask():
            asked.set()
            answers.append(httpx.post(url, json=SLOW, timeout=DEADLINE).json())

        thread = threading.Thread(target=ask)
        thread.start()
        asked.wait()
        time.sleep(0.3)
        assert answers == []
    thread.join()
    assert answers == [{"predictions": ["X"]}]
