"""`executor-fn` with a compiled-in Executor, under the emulator and behind cargo-lambda."""

import base64
import json
import re

import pytest

from executor_function import PROGRAM, cargo_lambda_invoke, emulated
from functions import ROOT, watched

BY_HAND = {"data": [{"text": "hello"}], "execEndpoint": "/"}


@pytest.fixture
def function(tmp_path):
    with emulated(tmp_path) as function:
        yield function


def documented(mark: str) -> str:
    """Returns the first example of this kind in INVOKE.md."""
    text = (ROOT / "proto/INVOKE.md").read_text()
    return re.search(rf"```json {mark}\n(.*?)\n```", text, re.S).group(1)


def test_plain_json_is_processed(function):
    response = function.invoke(BY_HAND)
    assert [doc["text"] for doc in response["data"]] == ["hello", "hello from Flowgate"]


def test_the_documented_payload_is_processed(function):
    response = function.invoke(documented("request"))
    assert response["flowgate"] == 1 and not response.get("isError")
    assert b"hello from Flowgate" in base64.b64decode(response["body"])


@pytest.mark.parametrize(
    "payload, expected",
    [
        ("nonsense", "expected ident"),
        ("[1]", "not a valid invocation"),
        ('{"flowgate":9,"call":"process"}', "version 9"),
        ('{"flowgate":1,"call":"process","body":"?"}', "base64"),
        ('{"data":[{"text":[]}]}', "body.data.0.text"),
    ],
)
def test_invalid_payloads_are_reported(function, payload, expected):
    error = function.invoke(payload)
    assert error["errorType"] == "Flowgate.BadPayload"
    assert expected in error["errorMessage"]


def test_the_function_keeps_running_after_an_error(function):
    function.invoke("nonsense")
    assert "data" in function.invoke(BY_HAND)


def test_the_log_is_json(function):
    function.invoke("nonsense")
    lines = [line for line in function.log().splitlines() if line.startswith("{")]
    assert any("Flowgate.BadPayload" in json.loads(line)["message"] for line in lines)


def test_cargo_lambda_invoke_returns_responses_and_errors(tmp_path):
    with watched(tmp_path, {"executor-fn": (PROGRAM, {})}) as functions:
        done = cargo_lambda_invoke(functions.endpoint, json.dumps(BY_HAND))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["data"][1]["text"] == "hello from Flowgate"
        failed = cargo_lambda_invoke(functions.endpoint, '{"flowgate":9}')
        assert "Flowgate.BadPayload" in failed.stdout + failed.stderr
