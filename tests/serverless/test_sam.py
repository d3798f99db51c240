"""`sam build`, `sam local start-lambda` and `sam local start-api` in Docker, with the Flow of infra/ over two functions.

The Gateway's container invokes the Executor through `start-lambda`, as on AWS.
"""

import json
import os
import socket
import subprocess
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions
import pytest

from functions import HELLO, ROOT, HttpResponse, executors, texts
from processes import free_port, running

HERE = Path(__file__).parent

# The address at which containers reach the host.
BRIDGE = "172.17.0.1"


@pytest.fixture(scope="module")
def docker():
    ready = subprocess.run([HERE / "docker"], capture_output=True, text=True)
    if ready.returncode != 0:
        print(f"NO DOCKER: the tests of SAM are skipped\n{ready.stderr}")
        pytest.skip(f"no Docker engine is available: {ready.stderr.strip()[-200:]}")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the root of the repository after `sam build`, which uses the compiled functions."""
    directory = tmp_path_factory.mktemp("sam")
    for name in ("samconfig.toml", "infra"):
        (directory / name).symlink_to(ROOT / name)
    # Keeps cargo-lambda from downloading the Rust target of the template.
    flags = {"CARGO_LAMBDA_BUILD": "{skip_target_check=true}"}
    words = ["sam", "build", "--build-dir", directory / ".aws-sam/build"]
    result = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **flags}, capture_output=True, text=True, timeout=1200
    )
    assert result.returncode == 0, result.stderr
    return directory


@pytest.fixture(scope="module")
def built(tree):
    """The built template with its functions."""
    return tree / ".aws-sam/build"


@pytest.fixture(scope="module")
def lambda_url(docker, built, tmp_path_factory):
    with local("start-lambda", built, tmp_path_factory.mktemp("start-lambda"), BRIDGE) as url:
        yield url


@pytest.fixture(scope="module")
def http_url(lambda_url, built, tmp_path_factory):
    with local("start-api", built, tmp_path_factory.mktemp("start-api"), "127.0.0.1", lambda_url) as url:
        yield url


class local:
    """Runs `sam local COMMAND`, and stops it with its containers."""

    def __init__(self, command, built, directory, host, endpoint=None):
        self.port, self.host = free_port(), host
        words = ["sam", "local", command, "--template", built / "template.yaml"]
        words += ["--host", host, "--port", self.port, "--skip-pull-image", "--shutdown"]
        # Not with samconfig.toml, whose endpoint has SAM's default port. A test below uses that file.
        words += ["--config-file", directory / "none.toml", "--warm-containers", "LAZY"]
        (directory / "none.toml").write_text("version = 0.1\n")
        if endpoint:
            (directory / "variables.json").write_text(json.dumps({"Parameters": {"AWS_ENDPOINT_URL_LAMBDA": endpoint}}))
            words += ["--env-vars", directory / "variables.json"]
        self._running = running(words, directory / "log", cwd=ROOT)

    def __enter__(self) -> str:
        self._running.__enter__().wait_for_port(self.port, 120, self.host)
        return f"http://{self.host}:{self.port}"

    def __exit__(self, *exception):
        self._running.__exit__(*exception)


def client(url: str):
    long_timeout = botocore.config.Config(read_timeout=120, retries={"total_max_attempts": 1})
    return boto3.client("lambda", endpoint_url=url, config=long_timeout)


def invoke(url: str, payload, function="ExecutorFunction", **options):
    return client(url).invoke(FunctionName=function, Payload=json.dumps(payload), **options)


def test_one_build_serves_both_gateway_functions(built):
    programs = [built / name / "bootstrap" for name in ("GatewayFunction", "WebSocketFunction")]
    assert programs[0].read_bytes() == programs[1].read_bytes()


def call_both_functions(url: str):
    response = HttpResponse(f"{url}/post", HELLO, seconds=120)
    assert response.status == 200, response.body
    assert texts(response.json())[0] == "hello" and len(response.json()["data"]) == 2
    assert "executor" in executors(response.json())


def test_a_flow_spans_two_functions(http_url):
    call_both_functions(http_url)


def is_taken(port: int) -> bool:
    with socket.socket() as listener:
        # Like SAM, treats a port in TIME_WAIT as free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("0.0.0.0", port))
        except OSError:
            return True
    return False


def test_samconfig_makes_flags_unnecessary(docker, tree, tmp_path):
    # SAM's own ports: infra/local.json names the second.
    api, functions = 3000, 3001
    taken = [port for port in (api, functions) if is_taken(port)]
    if taken:
        pytest.skip(f"samconfig.toml is not tested: `sam local` needs its default ports, and {taken} are in use")
    # No flags. The base image is a local replacement, which cannot be pulled.
    here = {"cwd": tree, "SAM_SKIP_PULL_IMAGE": "true"}
    with (
        running(["sam", "local", "start-lambda"], tmp_path / "start-lambda.log", **here) as start_lambda,
        running(["sam", "local", "start-api"], tmp_path / "start-api.log", **here) as start_api,
    ):
        start_lambda.wait_for_port(functions, 120)
        start_api.wait_for_port(api, 120)
        call_both_functions(f"http://127.0.0.1:{api}")


def test_status_is_a_route(http_url):
    assert HttpResponse(f"{http_url}/status", seconds=120).status == 200


def test_an_executor_is_invoked_directly(lambda_url):
    response = json.load(invoke(lambda_url, HELLO)["Payload"])
    assert texts(response)[0] == "hello" and len(response["data"]) == 2


def test_an_invalid_payload_is_a_function_error(lambda_url):
    response = invoke(lambda_url, {"flowgate": 1})
    assert response["StatusCode"] == 200
    assert response["FunctionError"] == "Unhandled"
    assert json.load(response["Payload"])["errorType"] == "Flowgate.BadPayload"


def test_an_asynchronous_invocation_is_accepted(lambda_url):
    assert invoke(lambda_url, HELLO, InvocationType="Event")["StatusCode"] == 202


def test_an_unknown_function_is_not_found(lambda_url):
    # SAM's error code differs from AWS's, but not its status.
    with pytest.raises(botocore.exceptions.ClientError) as error:
        invoke(lambda_url, HELLO, function="Unknown")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
