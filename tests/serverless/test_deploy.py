"""`cargo lambda deploy` without flags: the files that it uploads, and the function that it creates at a mock of AWS."""

import json
import os
import subprocess

import boto3
import pytest

from functions import BOOTSTRAPS, ROOT
from processes import free_port, running

FUNCTIONS = ["gateway-fn", "executor-fn"]
ROLE = "arn:aws:iam::123456789012:role/flowgate"


def deploy(*words, **variables):
    command = ["cargo", "lambda", "deploy", "--lambda-dir", BOOTSTRAPS, "--output-format", "json", *words]
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    # The output also has lines of progress.
    return json.loads(result.stdout[result.stdout.index("{") :])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_dry_run_needs_no_flags(name):
    assert deploy("--dry", name)["name"] == name


def test_the_gateway_is_deployed_with_its_flow():
    files = deploy("--dry", "gateway-fn")["files"]
    assert {"bootstrap", "infra/flows/lambda.yml"} <= set(files)


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory):
    port = free_port()
    words = ["moto_server", "-H", "127.0.0.1", "-p", port]
    with running(words, tmp_path_factory.mktemp("moto") / "log") as server:
        server.wait_for_port(port)
        url = f"http://127.0.0.1:{port}"
        boto3.client("iam", endpoint_url=url).create_role(
            RoleName="flowgate", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
        )
        yield url


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_created_and_updated(control_plane, name):
    for _ in range(2):
        deploy("--endpoint-url", control_plane, "--iam-role", ROLE, name)
    function = boto3.client("lambda", endpoint_url=control_plane).get_function(FunctionName=name)
    configuration = function["Configuration"]
    assert configuration["Runtime"] == "provided.al2023"
    assert configuration["MemorySize"] == 512
    # A new role may not write traces: Lambda would refuse the function.
    assert configuration["TracingConfig"]["Mode"] == "PassThrough"
