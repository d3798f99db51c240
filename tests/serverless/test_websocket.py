"""WebSocket clients of gateway-fn through `flowgate local` and through serverless-offline. The second emulator checks the
first. Responses come as route responses, or are pushed by a second invocation.
"""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

from functions import BOOTSTRAPS, FLOW_IN_PROCESS, HELLO, bootstrap, texts, watched
from processes import free_port, running

HERE = Path(__file__).parent
NPM = Path(os.environ["SERVERLESS_NPM"])


FLOW_PUSHING = FLOW_IN_PROCESS.replace("port: 8080}", "port: 8080, function: {websocket: {push: true}}}")


assert FLOW_PUSHING != FLOW_IN_PROCESS


@contextmanager
def flowgate_local(directory: Path, yaml: str):
    ports = [free_port() for _ in range(3)]
    flow = directory / "flow.yml"
    flow.write_text(yaml)
    words = [BOOTSTRAPS / "flowgate/bootstrap", "local", "--bootstrap", f"gateway-fn={bootstrap('gateway-fn')}"]
    words += ["--flow", flow, "--http", ports[0], "--websocket", ports[1], "--lambda", ports[2]]
    with running(words, directory / "local.log") as program:
        program.wait_for_port(ports[1])
        yield f"ws://127.0.0.1:{ports[1]}"


@contextmanager
def serverless_offline(directory: Path, yaml: str):
    if not (NPM / ".complete").exists():
        pytest.skip("serverless-offline is not installed: no npm here")
    http, websocket, control = (free_port() for _ in range(3))
    for name in ("serverless.yml", "forward.js"):
        shutil.copy(HERE / "offline" / name, directory)
    (directory / "node_modules").symlink_to(NPM / "node_modules")
    # serverless-offline's events have no reachable address of @connections. The function invokes itself through
    # serverless-offline, because `watch` waits for the end of asynchronous invocations.
    variables = {
        "FLOWGATE_FLOW": yaml,
        "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{control}",
        "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": f"http://127.0.0.1:{websocket}",
    }
    with watched(directory, {"gateway-fn": (bootstrap("gateway-fn"), variables)}) as functions:
        words = ["node", "node_modules/serverless/bin/serverless.js", "offline", "start"]
        invoke = f"{functions.endpoint}/2015-03-31/functions/gateway-fn/invocations"
        ports = {"HTTP_PORT": http, "WEBSOCKET_PORT": websocket, "LAMBDA_PORT": control}
        with running(words, directory / "offline.log", cwd=directory, INVOKE_URL=invoke, **ports) as program:
            program.wait_for_port(websocket, 120)
            yield f"ws://127.0.0.1:{websocket}"


@pytest.fixture(scope="module", params=[flowgate_local, serverless_offline], ids=lambda host: host.__name__)
def host(request):
    return request.param


@pytest.fixture(scope="module", params=[FLOW_IN_PROCESS, FLOW_PUSHING], ids=["answered", "pushed"])
def url(request, host, tmp_path_factory):
    with host(tmp_path_factory.mktemp("websocket"), request.param) as url:
        yield url


def exchange(socket, message) -> dict:
    socket.send(message if isinstance(message, str) else json.dumps(message))
    return json.loads(socket.recv(timeout=30))


def test_a_message_is_answered(url):
    with connect(url) as socket:
        response = exchange(socket, HELLO)
        assert texts(response)[0] == "hello" and len(response["data"]) == 2


def test_messages_are_answered_one_after_another(url):
    with connect(url) as socket:
        for number in range(5):
            response = exchange(socket, {"data": [{"text": str(number)}], "execEndpoint": "/"})
            assert texts(response)[0] == str(number)


def test_clients_get_only_their_own_responses(url):
    with connect(url) as one, connect(url) as other:
        assert texts(exchange(one, {**HELLO, "data": [{"text": "one"}]}))[0] == "one"
        assert texts(exchange(other, {**HELLO, "data": [{"text": "other"}]}))[0] == "other"


def test_a_subprotocol_is_answered(url):
    with connect(url, subprotocols=["json"]) as socket:
        assert socket.subprotocol == "json"
        assert texts(exchange(socket, HELLO))[0] == "hello"


def test_a_ping_is_answered(url):
    with connect(url) as socket:
        assert exchange(socket, {"action": "ping"}) == {"action": "pong"}


def test_invalid_json_is_an_error_and_the_connection_stays_open(url):
    with connect(url) as socket:
        socket.send("{")
        assert "error" in socket.recv(timeout=30).lower()
        assert texts(exchange(socket, HELLO))[0] == "hello"


def test_a_large_response_is_split_into_parts(url):
    sent = [str(number) for number in range(2500)]
    message = json.dumps({"data": [{"text": text} for text in sent], "execEndpoint": "/"})
    # API Gateway accepts frames of up to 32 KB, and messages of several frames.
    frames = [message[start : start + 16384] for start in range(0, len(message), 16384)]
    with connect(url) as socket:
        socket.send(frames)
        parts = [json.loads(socket.recv(timeout=30))]
        while len(parts) < parts[0]["part"]["of"]:
            parts.append(json.loads(socket.recv(timeout=30)))
        # Each part is a separate message, and messages may arrive out of order.
        parts.sort(key=lambda part: part["part"]["index"])
        assert len(parts) > 1
        assert [part["part"]["index"] for part in parts] == list(range(len(parts)))
        assert len({part["header"]["request_id"] for part in parts}) == 1
        received = [text for part in parts for text in texts(part)]
        assert received[: len(sent)] == sent
