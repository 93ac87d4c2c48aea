"""What the server answers: as predict does, and an error in one line for what it cannot."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import seqtrain
from seqtrain.commands.loaded import Loaded
from seqtrain.config import UserError

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from seqtrain.serving.answers import Answers
from seqtrain.serving.api import make_app

SETTINGS = {"body": 1, "length": 300, "batch": 4, "queue": 8, "time": 20.0}
STROKES = tiny.OWN / "handwriting" / "01.json"


def serving(loaded: Loaded, **changes: Any) -> TestClient:
    return TestClient(make_app(Answers(loaded), SETTINGS | changes, ("localhost",)), "http://localhost:8000")


@pytest.fixture(scope="module")
def loaded(runs: dict[str, Path]) -> dict[str, Loaded]:
    return {task: seqtrain.load(folder) for task, folder in runs.items()}


@pytest.fixture(scope="module")
def client(loaded: dict[str, Loaded]):
    with serving(loaded["translation"]) as made:
        yield made


@pytest.fixture(scope="module")
def handwriting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ink") / "run"
    with tiny.no_figures():
        tiny.train(folder, "handwriting")
    return seqtrain.load(folder)


def events(text: str) -> list[tuple[str, Any]]:
    lines = [event.split("\n") for event in text.strip().split("\n\n")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in lines]


@pytest.mark.parametrize("task", tiny.TASKS)
def test_every_task_is_answered_as_predict_does(loaded, task):
    model, lines = loaded[task], tiny.LINES[task]
    with serving(model) as client:
        about = client.get("/api/about").json()
        answers = client.post("/api/predict", json={"inputs": lines, "details": True}).json()["answers"]
    assert about["task"] == type(model.task).__name__
    assert [answer["output"] for answer in answers] == model.predict(lines)


def test_a_table_of_series(loaded):
    rows = [f"{np.datetime64('2001-01-06') + 7 * i},{300 + i}" for i in range(16)]
    table = "\n".join(["date,co2", *rows])
    with serving(loaded["forecasting"]) as client:
        [answer] = client.post("/api/predict", json={"inputs": [table]}).json()["answers"]
        wrong = client.post("/api/predict", json={"inputs": [table + "\nnever,1"]})
    wanted = loaded["forecasting"].answers(table.split("\n"))
    assert [
        row | {"output": line} for row, line in zip(answer["rows"], answer["output"].split("\n")[1:], strict=True)
    ] == wanted
    assert wrong.status_code == 422
    assert wrong.json()["error"].startswith("input 1: ")


def test_the_weights_of_attention(client):
    [answer, empty] = client.post("/api/predict", json={"inputs": ["Mai 3", ""], "attention": True}).json()["answers"]
    weights = answer["attention"]["weights"]
    assert answer["attention"]["sources"] == [*"Mai 3", "⏎"]
    assert len(weights) == len(answer["attention"]["targets"])
    assert [sum(row) for row in weights] == pytest.approx([1.0] * len(weights), abs=0.01)
    assert empty == {"output": ""}


def test_outputs_as_they_are_written(loaded):
    with serving(loaded["generation"]) as client:
        asked = {"input": "the ", "decode": {"temperature": 1.0, "max_length": 9, "seed": 3}}
        found = [events(client.post("/api/stream", json=asked).text) for _ in range(2)]
    *texts, (kind, answer) = found[0]
    assert (found[0], kind) == (found[1], "answer")
    assert len(texts) > 3
    assert answer["output"].startswith("".join(content["text"] for _, content in texts))


def test_music_is_written_and_heard(loaded):
    with serving(loaded["music"]) as client:
        *texts, (_, answer) = events(client.post("/api/stream", json={"input": "C4+E4", "decode": {"length": 5}}).text)
        sound = client.post("/api/file", json={"output": answer["output"], "ending": ".wav"})
        midi = client.post("/api/file", json={"output": "C4 C4 E4", "ending": ".mid"})
        wrong = client.post("/api/file", json={"output": "H9", "ending": ".wav"})
        from_midi = client.post(
            "/api/predict", json={"files": [base64.b64encode(midi.content).decode()], "decode": {"length": 1}}
        )
    assert len(texts) == 4  # the last frame comes with the answer
    assert answer["output"].startswith("C4+E4 ")
    assert sound.content.startswith(b"RIFF")
    assert (wrong.status_code, wrong.json()["error"][:14]) == (422, "output: 'H9' i")
    assert from_midi.json()["answers"][0]["output"].startswith("C4 C4 E4 ")


def test_the_content_of_a_file_is_answered_and_a_path_never(handwriting, loaded):
    content = base64.b64encode(STROKES.read_bytes()).decode()
    with serving(handwriting) as client:
        [answer] = client.post("/api/predict", json={"files": [content], "attention": True}).json()["answers"]
        path = client.post("/api/predict", json={"inputs": [str(STROKES)]})
        path_in_file = client.post("/api/predict", json={"files": [base64.b64encode(str(STROKES).encode()).decode()]})
        no_base64 = client.post("/api/predict", json={"files": ["%"]})
    assert answer["output"] == handwriting.predict(str(STROKES))
    assert len(answer["attention"]["sources"]) == len(answer["attention"]["weights"][0])
    for refused in (path, path_in_file):
        assert refused.status_code == 422
        assert refused.json()["error"].startswith("input 1: these are no strokes")
    assert no_base64.json() == {"error": "file 1: this is no base64"}
    midi = tiny.OWN / "scores"
    with serving(loaded["music"]) as client:
        named = client.post("/api/predict", json={"inputs": [str(next(midi.glob("*.mid")))]})
    assert named.status_code == 422
    assert "is no key of a piano" in named.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b'{"inputs": ["a"', 422, "no JSON: Expecting ',' delimiter, at character 15"),
        (b'{"inputs": ["a\0b"]}', 422, "no JSON: Invalid control character at, at character 14"),
        (b'{"inputs": ["a\\u0000b"]}', 422, "input 1: it holds a NUL character or half of"),
        (b'{"inputs": ["\\ud800"]}', 422, "input 1: it holds a NUL character or half of"),
        (b'{"inputs": "a"}', 422, "inputs: Input should be a valid list"),
        (b'{"inputs": ["a"], "detials": true}', 422, "detials: Extra inputs are not permitted"),
        (b'{"inputs": []}', 422, "there is no input: inputs holds texts, files the contents of files"),
        (b'{"files": ["AAAA"]}', 422, "files: this model reads texts, which go into inputs"),
        (b'{"inputs": ["a"], "decode": {"temperature": -1}}', 422, "decode.temperature: Input should be greater than"),
        (b'{"inputs": ["a"], "decode": {"max_length": 1000000}}', 422, "decode.max_length: Input should be less than"),
        (b'{"inputs": ["a", "a", "a", "a", "a"]}', 413, "5 inputs in a request; at most 4 (serve.batch)"),
        (b'{"inputs": ["%s"]}' % (301 * b"a"), 413, "input 1: 301 characters; at most 300 are read (serve.length)"),
        (b"1" * 5000, 400, "There was an error parsing the body"),
        (b"[" * 100_000, 400, "There was an error parsing the body"),
        (b"\xff\xfe\x81", 400, "There was an error parsing the body"),
        (b" " * 2**20 + b"{}", 413, "the body has more than 1,048,576 bytes (serve.body, in MiB)"),
    ],
)
def test_a_mistake_is_one_line_and_the_next_request_is_answered(client, body, status, problem):
    refused = client.post("/api/predict", content=body, headers={"content-type": "application/json"})
    assert (refused.status_code, list(refused.json())) == (status, ["error"])
    assert refused.json()["error"].startswith(problem)
    assert client.post("/api/predict", json={"inputs": ["Mai"]}).status_code == 200


def test_what_a_task_refuses_has_the_number_of_the_input(runs, loaded):
    with serving(loaded["forecasting"]) as client:
        wrong = client.post("/api/predict", json={"inputs": ["1 2 3 4 5 6 7 8", "1 x"]})
    assert wrong.json() == {"error": "input 2: line 1: expected numbers, found '1 x'; a table begins with date,co2"}


def test_another_site_cannot_use_it(client):
    assert client.get("/api/about", headers={"host": "localhost:1"}).status_code == 200
    rebound = client.get("/api/about", headers={"host": "evil.example"})
    assert (rebound.status_code, rebound.json()) == (
        421,
        {"error": "host 'evil.example': this server is called localhost"},
    )
    # What a page may send to another site without asking it first, is no JSON.
    simple = client.post("/api/predict", content=b'{"inputs": ["a"]}', headers={"content-type": "text/plain"})
    assert simple.status_code == 422
    asks_first = client.options(
        "/api/predict", headers={"origin": "http://evil.example", "access-control-request-method": "POST"}
    )
    assert not any(name.startswith("access-control") for name in asks_first.headers)
    assert "frame-ancestors 'none'" in client.get("/").headers["content-security-policy"]


def test_health_metrics_and_the_description(client):
    client.post("/api/predict", json={"inputs": ["Mai", "Juni"]})
    assert client.get("/health").json() == {"status": "ok"}
    lines = client.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert int(values['seqtrain_requests_total{path="/api/predict",status="200"}']) >= 1
    assert float(values["seqtrain_batch_inputs_sum"]) >= 2
    assert values["seqtrain_in_flight"] == "1"
    client.get("/nothing/here")
    assert 'path="other",status="404"' in client.get("/metrics").text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/api/about", "/api/predict", "/api/stream", "/api/file", "/health", "/metrics"} == paths.keys()


def test_a_failure_is_told_in_a_line_and_logged(loaded, monkeypatch, caplog):
    model = loaded["sentiment"]
    with monkeypatch.context() as patch, serving(model) as client:
        patch.setattr(model.task, "predict", lambda *args: 1 / 0)
        failed = TestClient(client.app, "http://localhost", raise_server_exceptions=False).post(
            "/api/predict", json={"inputs": ["a"]}
        )
    assert (failed.status_code, failed.json()) == (
        500,
        {"error": "the server failed at this request; its log says why"},
    )
    assert "ZeroDivisionError" in caplog.text


def test_an_answer_that_is_late(loaded):
    with serving(loaded["music"], time=0.05) as client:
        late = client.post("/api/predict", json={"inputs": [""], "decode": {"length": 10_000}})
        stream = events(client.post("/api/stream", json={"input": "", "decode": {"length": 10_000}}).text)
    assert (late.status_code, late.json()) == (504, {"error": "there was no answer within 0.05 s (serve.time)"})
    assert stream[-1] == ("error", late.json())


def test_what_no_output_becomes(loaded):
    with pytest.raises(UserError, match="an output becomes no file"):
        Answers(loaded["sentiment"]).file("a", ".wav")
