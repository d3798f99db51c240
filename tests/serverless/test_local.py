"""`flowgate local` as AWS's own SDK and its users see it: streamed invocations, and what the terminal shows."""

import json
import shlex
import subprocess

import boto3
import pytest

from functions import BOOTSTRAPS, FLOW_IN_PROCESS, HELLO, HttpResponse, bootstrap, texts
from processes import free_port, running


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Both functions: the program, the URL of the HTTP API and that of Lambda."""
    directory = tmp_path_factory.mktemp("local")
    flow = directory / "flow.yml"
    flow.write_text(FLOW_IN_PROCESS)
    http, websocket, invoke = (free_port() for _ in range(3))
    words = [BOOTSTRAPS / "flowgate/bootstrap", "local", "--flow", flow]
    words += ["--http", http, "--websocket", websocket, "--lambda", invoke]
    for name in ("gateway-fn", "executor-fn"):
        words += ["--bootstrap", f"{name}={bootstrap(name)}"]
    with running(words, directory / "log") as program:
        program.wait_for_port(http)
        yield program, f"http://127.0.0.1:{http}", f"http://127.0.0.1:{invoke}"


def stream(url: str, payload) -> list:
    """Invokes the Executor by InvokeWithResponseStream. The SDK checks the checksums of the events."""
    client = boto3.client("lambda", endpoint_url=url)
    response = client.invoke_with_response_stream(FunctionName="executor-fn", Payload=json.dumps(payload))
    return list(response["EventStream"])


def test_a_response_is_streamed(local):
    *chunks, complete = stream(local[2], HELLO)
    body = b"".join(chunk["PayloadChunk"]["Payload"] for chunk in chunks)
    assert texts(json.loads(body))[0] == "hello"
    assert complete == {"InvokeComplete": {}}


def test_an_error_ends_the_stream(local):
    (complete,) = stream(local[2], {"flowgate": 1})
    assert complete["InvokeComplete"]["ErrorCode"] == "Flowgate.BadPayload"


def test_the_terminal_shows_a_line_per_invocation_and_no_metrics(local):
    program, http, _ = local
    assert HttpResponse(f"{http}/post", HELLO).status == 200
    program.wait_for_log("[gateway-fn] REPORT RequestId: ", 10)
    assert "CloudWatchMetrics" not in program.log()


def test_the_printed_command_works_with_a_named_stage(tmp_path):
    flow = tmp_path / "flow.yml"
    flow.write_text(FLOW_IN_PROCESS)
    http, websocket, invoke = (free_port() for _ in range(3))
    words = [BOOTSTRAPS / "flowgate/bootstrap", "local", "--flow", flow, "--stage", "prod"]
    words += ["--http", http, "--websocket", websocket, "--lambda", invoke]
    words += ["--bootstrap", f"gateway-fn={bootstrap('gateway-fn')}"]
    with running(words, tmp_path / "log") as program:
        program.wait_for_port(http)
        (command,) = [line.strip() for line in program.log().splitlines() if line.startswith("  curl ")]
        assert "/prod/post" in command
        answer = subprocess.run(shlex.split(command), capture_output=True, check=True, timeout=60)
        assert texts(json.loads(answer.stdout))[0] == "hello"
