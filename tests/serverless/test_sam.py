"""`sam build`, `sam local start-lambda` and `sam local start-api` in Docker: the Flow of infra/ spans two functions.

The Gateway's container invokes the Executor through `start-lambda`, as both would on AWS.
"""

import json
import os
import subprocess
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions
import pytest

from functions import HELLO, ROOT, Answer, executors, texts
from processes import free_port, running

HERE = Path(__file__).parent

# The address at which containers reach the host.
BRIDGE = "172.17.0.1"


@pytest.fixture(scope="module")
def docker():
    ready = subprocess.run([HERE / "docker"], capture_output=True, text=True)
    if ready.returncode != 0:
        print(f"NO DOCKER: nothing of SAM is proven here\n{ready.stderr}")
        pytest.skip(f"no Docker engine can be had: {ready.stderr.strip()[-200:]}")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The template with its functions; `sam build` finds them compiled."""
    directory = tmp_path_factory.mktemp("sam")
    # Keeps cargo-lambda from fetching a Rust target, whichever the template asks for.
    flags = {"CARGO_LAMBDA_BUILD": "{skip_target_check=true}"}
    words = ["sam", "build", "--build-dir", directory / "build"]
    ran = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **flags}, capture_output=True, text=True, timeout=1200
    )
    assert ran.returncode == 0, ran.stderr
    return directory / "build"


@pytest.fixture(scope="module")
def lambda_url(docker, built, tmp_path_factory):
    with local("start-lambda", built, tmp_path_factory.mktemp("start-lambda"), BRIDGE) as url:
        yield url


@pytest.fixture(scope="module")
def http_url(lambda_url, built, tmp_path_factory):
    with local("start-api", built, tmp_path_factory.mktemp("start-api"), "127.0.0.1", lambda_url) as url:
        yield url


class local:
    """`sam local COMMAND`, stopped with its containers."""

    def __init__(self, command, built, directory, host, endpoint=None):
        self.port, self.host = free_port(), host
        words = ["sam", "local", command, "--template", built / "template.yaml"]
        words += ["--host", host, "--port", self.port, "--skip-pull-image", "--shutdown"]
        # Without samconfig.toml's own endpoint, which is for Docker Desktop.
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
    patient = botocore.config.Config(read_timeout=120, retries={"total_max_attempts": 1})
    return boto3.client("lambda", endpoint_url=url, config=patient)


def invoke(url: str, payload, function="ExecutorFunction", **options):
    return client(url).invoke(FunctionName=function, Payload=json.dumps(payload), **options)


def test_one_build_serves_both_gateway_functions(built):
    programs = [built / name / "bootstrap" for name in ("GatewayFunction", "WebSocketFunction")]
    assert programs[0].read_bytes() == programs[1].read_bytes()


def test_a_flow_spans_two_functions(http_url):
    answer = Answer(f"{http_url}/post", HELLO, seconds=120)
    assert answer.status == 200, answer.body
    assert texts(answer.json())[0] == "hello" and len(answer.json()["data"]) == 2
    assert "executor" in executors(answer.json())


def test_status_is_a_route(http_url):
    assert Answer(f"{http_url}/status", seconds=120).status == 200


def test_an_executor_is_invoked_directly(lambda_url):
    answer = json.load(invoke(lambda_url, HELLO)["Payload"])
    assert texts(answer)[0] == "hello" and len(answer["data"]) == 2


def test_a_payload_that_cannot_be_read_is_a_function_error(lambda_url):
    answer = invoke(lambda_url, {"flowgate": 1})
    assert answer["StatusCode"] == 200
    assert answer["FunctionError"] == "Unhandled"
    assert json.load(answer["Payload"])["errorType"] == "Flowgate.BadPayload"


def test_an_asynchronous_invocation_is_accepted(lambda_url):
    assert invoke(lambda_url, HELLO, InvocationType="Event")["StatusCode"] == 202


def test_an_unknown_function_is_not_found(lambda_url):
    # SAM's code for it is not AWS's; its status is.
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        invoke(lambda_url, HELLO, function="Nobody")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
