"""The README's way from an empty account to a call: its commands run against a mock of AWS, and its calls against
`flowgate local` with the environment that was deployed.
"""

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from functions import BOOTSTRAPS, ROOT, bootstrap, executors, texts
from processes import free_port, running

STAND_INS = Path(__file__).parent / "stand_ins"
SECTION = (ROOT / "README.md").read_text().split("## Run it on AWS Lambda")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


def commands_with(text: str) -> str:
    (block,) = [block for block in BLOCKS if text in block]
    return block


WITH_IAM = commands_with("create-function-url-config")
WITH_KEY = commands_with("API_KEY_SHA256")


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """A mock of AWS with an account that has nothing but AWS's own policies."""
    port = free_port()
    words = ["moto_server", "-H", "127.0.0.1", "-p", port]
    with running(words, tmp_path_factory.mktemp("moto") / "log", MOTO_IAM_LOAD_MANAGED_POLICIES="true") as server:
        server.wait_for_port(port)
        yield f"http://127.0.0.1:{port}"


def run(commands: str, account: str, directory: Path) -> list:
    """Runs commands of the README, and returns the arguments of their call by curl."""
    arguments = directory / "curl.json"
    variables = {
        **os.environ,
        "PATH": f"{STAND_INS}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": account,
        "REAL_CARGO": shutil.which("cargo"),
        "CURL_ARGUMENTS": str(arguments),
    }
    words = ["bash", "-eo", "pipefail", "-c", commands]
    result = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(arguments.read_text())


@pytest.fixture(scope="module")
def deployed(account, tmp_path_factory):
    """Both functions, deployed for callers with IAM signatures, and the call."""
    return run(WITH_IAM, account, tmp_path_factory.mktemp("iam"))


def configuration(account: str, name: str) -> dict:
    return boto3.client("lambda", endpoint_url=account).get_function_configuration(FunctionName=name)


def policies_of(account: str, name: str) -> tuple:
    """Returns the names of the managed policies of a function's role, and its own policies."""
    iam = boto3.client("iam", endpoint_url=account)
    role = configuration(account, name)["Role"].split("/")[-1]
    attached = [each["PolicyName"] for each in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]]
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return attached, [iam.get_role_policy(RoleName=role, PolicyName=each)["PolicyDocument"] for each in names]


@pytest.mark.parametrize("name", ["gateway-fn", "executor-fn"])
def test_the_role_that_cargo_lambda_makes_is_enough(account, deployed, name):
    # Lambda refuses a function with active tracing whose role may not write traces; the mock does not.
    assert configuration(account, name)["TracingConfig"]["Mode"] == "PassThrough"
    assert policies_of(account, name)[0] == ["AWSLambdaBasicExecutionRole"]


def test_the_gateway_may_invoke_its_executor_and_nothing_else(account, deployed):
    ((document,),) = [policies_of(account, "gateway-fn")[1]]
    (statement,) = document["Statement"]
    assert statement["Action"] == "lambda:InvokeFunction"
    assert statement["Resource"] == configuration(account, "executor-fn")["FunctionArn"]
    variables = configuration(account, "gateway-fn")["Environment"]["Variables"]
    assert variables["EXECUTOR_FUNCTION"] == "executor-fn"
    assert policies_of(account, "executor-fn")[1] == []


@contextmanager
def gateway(account: str, directory: Path):
    """Runs the functions on this machine, with the files and the environment that were deployed."""
    variables = configuration(account, "gateway-fn")["Environment"]["Variables"]
    http, websocket, invoke = (free_port() for _ in range(3))
    words = [BOOTSTRAPS / "flowgate/bootstrap", "local", "--http", http, "--websocket", websocket, "--lambda", invoke]
    for name in ("gateway-fn", "executor-fn"):
        # cargo-lambda writes what it uploads beside the bootstrap.
        shutil.unpack_archive(bootstrap(name).with_suffix(".zip"), directory / name)
        program = directory / name / "bootstrap"
        program.chmod(0o755)
        words += ["--bootstrap", f"{name}={program}"]
    for name, value in variables.items():
        words += ["--env", f"{name}={value}"]
    with running(words, directory / "local.log", cwd=ROOT) as program:
        program.wait_for_port(http)
        yield f"http://127.0.0.1:{http}/"


def call(arguments: list, url: str) -> tuple:
    """Makes the call at another URL, and returns its status and its JSON."""
    moved = [re.sub(r"^https://[^/]+\.lambda-url\.[^/]+/", url, word) for word in arguments]
    assert moved != arguments
    words = ["curl", "--max-time", "60", "-w", "\n%{http_code}", *moved]
    body, _, status = subprocess.check_output(words, text=True, timeout=90).rpartition("\n")
    return int(status), json.loads(body)


def assert_answered(answer: tuple):
    status, response = answer
    assert status == 200, response
    assert texts(response)[0] == "hello" and len(texts(response)) == 2
    assert "executor" in executors(response)


def test_the_signed_call_is_answered(account, deployed, tmp_path):
    url = boto3.client("lambda", endpoint_url=account).get_function_url_config(FunctionName="gateway-fn")
    assert url["AuthType"] == "AWS_IAM"
    assert deployed[deployed.index("--aws-sigv4") + 1] == "aws:amz:us-east-1:lambda"
    with gateway(account, tmp_path) as local:
        assert_answered(call(deployed, local))


def test_the_call_with_an_api_key_is_answered(account, deployed, tmp_path):
    client = boto3.client("lambda", endpoint_url=account)
    client.delete_function_url_config(FunctionName="gateway-fn")
    arguments = run(WITH_KEY, account, tmp_path)
    assert client.get_function_url_config(FunctionName="gateway-fn")["AuthType"] == "NONE"
    (header,) = [word for word in arguments if word.startswith("x-api-key: ")]
    key = header.removeprefix("x-api-key: ")
    assert len(key) == 48
    variables = configuration(account, "gateway-fn")["Environment"]["Variables"]
    # Those of the manifest stay.
    assert variables["EXECUTOR_FUNCTION"] == "executor-fn"
    assert key not in str(variables)
    with gateway(account, tmp_path) as local:
        assert_answered(call(arguments, local))
        assert call([word.replace(key, "0" * 48) for word in arguments], local)[0] == 401
