"""`cargo lambda watch` in the root, without flags: builds and starts both functions on their first invocation."""

import socket
import subprocess

import pytest

from functions import HELLO, ROOT, HttpResponse, executors, texts
from processes import running

#: The default port of `watch`, at which `gateway-fn` invokes Executors under it.
PORT = 9000

#: The first invocation compiles the function.
BUILD_SECONDS = 900


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"port {PORT} is in use, and the test must not choose another by a flag")
    log = tmp_path_factory.mktemp("watch") / "watch.log"
    with running(["cargo", "lambda", "watch"], log, cwd=ROOT) as program:
        program.wait_for_port(PORT)
        yield f"http://127.0.0.1:{PORT}"


def test_an_executor_is_invoked_by_hand(watch):
    words = ["cargo", "lambda", "invoke", "executor-fn", "--data-ascii"]
    words += ['{"data":[{"text":"hello"}],"execEndpoint":"/"}']
    response = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_SECONDS)
    assert response.returncode == 0, response.stderr
    assert '"hello"' in response.stdout


def test_the_gateway_invokes_the_executor(watch):
    response = HttpResponse(f"{watch}/lambda-url/gateway-fn/post", HELLO, seconds=BUILD_SECONDS)
    assert response.status == 200, response.body
    assert executors(response.json()) == ["gateway", "executor"]
    assert texts(response.json())[0] == "hello"
