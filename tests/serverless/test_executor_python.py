"""An unchanged Python Executor as a Lambda function: `executor-fn` wraps `jina executor` under the emulator. The tests
invoke it directly, and through Flowgate's Gateway, which uses the AWS SDK.
"""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

import functions
from executor_function import PROGRAM, emulated, python_executor
from functions import BOOTSTRAPS, HELLO, ROOT, HttpResponse, executors, one_at_a_time, texts
from processes import free_port, running

FLOW = """
jtype: Flow
version: '1'
gateway: {{protocol: http, port: {port}, invoke: {{endpoint_url: '{endpoint}'}}}}
executors:
  # The emulator has one function, with this name.
  - {{name: worker, host: 'lambda://function'}}
"""


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    directory = tmp_path_factory.mktemp("python")
    # Jina may take longer to start than Lambda's ten seconds of INIT.
    with emulated(directory, python_executor(), FLOWGATE_COMMAND_START="later") as function:
        yield function


def call(function, endpoint="/", **parameters):
    request = {"data": [{"text": "hello"}], "execEndpoint": endpoint, "parameters": parameters}
    return function.invoke(request)


def test_it_processes_a_request(function):
    assert call(function)["data"][0]["text"] == "HELLO"


@pytest.fixture(scope="module")
def gateway(function, tmp_path_factory):
    directory, port = tmp_path_factory.mktemp("gateway"), free_port()
    flow = directory / "flow.yml"
    with one_at_a_time(function.endpoint) as endpoint:
        flow.write_text(FLOW.format(port=port, endpoint=endpoint))
        with running([BOOTSTRAPS / "flowgate/bootstrap", "serve", flow], directory / "log") as program:
            program.wait_for_port(port)
            yield f"http://127.0.0.1:{port}"


def test_the_gateway_invokes_it_through_the_sdk(gateway):
    response = HttpResponse(f"{gateway}/post", HELLO)
    assert response.status == 200, response.body
    assert texts(response.json()) == ["HELLO"]
    assert "worker" in executors(response.json())


def test_the_gateway_forwards_its_error(gateway):
    response = HttpResponse(f"{gateway}/post", {**HELLO, "execEndpoint": "/fail"}).json()
    assert response["header"]["status"]["exception"]["name"] == "ValueError"


def test_its_error_is_a_response(function):
    status = call(function, "/fail")["header"]["status"]
    assert status["description"] == "ValueError('boom')"
    assert status["exception"]["name"] == "ValueError"


def test_its_output_is_in_the_log(function):
    call(function, "/print")
    assert '"message":"hello","stream":"stdout"' in function.log()


def test_its_endpoints_are_returned(function):
    response = function.invoke({"flowgate": 1, "call": "endpoints"})
    assert response["flowgate"] == 1 and response["body"]


def test_it_is_restarted_after_a_crash(function):
    before = call(function)["data"][0]["tags"]["pid"]
    died = call(function, "/die")
    assert died["errorType"] == "Flowgate.Unavailable"
    assert "being restarted" in died["errorMessage"]
    after = call(function)["data"][0]["tags"]["pid"]
    assert after != before


def process_state(number) -> tuple:
    """Returns state, parent and group of a process; empty when it has ended."""
    try:
        state, parent, group = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return ()
    # A zombie has ended, even if its parent has not read its status yet.
    return () if state == "Z" else (state, int(parent), int(group))


def test_it_is_started_in_init_and_ends_with_the_function(tmp_path):
    # Unlike Lambda, the emulator does not limit INIT.
    with emulated(tmp_path, python_executor(), FLOWGATE_COMMAND_START_TIMEOUT=60) as function:
        response = call(function)["data"][0]
        assert response["text"] == "HELLO"
        assert function.log().index("the command is ready") < function.log().index("INIT RTDONE")
        # The function started Jina, which leads a process group and runs the Executor in a child process.
        leader = process_state(response["tags"]["pid"])[2]
        program = process_state(leader)[1]
        # Lambda sends SIGTERM before it ends an environment. When the emulator is stopped, it does not log the exit status.
        os.kill(program, signal.SIGTERM)
        function.program.wait_for_log("exited: exit status 0", 10)
        assert not process_state(leader) and not process_state(response["tags"]["pid"])


def test_a_slow_request_ends_before_the_timeout_of_the_function(tmp_path):
    started = {"FLOWGATE_COMMAND_START": "later"}
    with emulated(tmp_path, python_executor(), timeout=20, **started) as function:
        call(function)
        begin = time.monotonic()
        late = call(function, "/sleep", seconds=60)
        assert late["errorType"] == "Flowgate.OutOfTime"
        assert time.monotonic() - begin < 30


def test_a_slow_start_is_reported(tmp_path):
    with emulated(tmp_path, ["sleep", "60"], timeout=2, FLOWGATE_COMMAND_START="later") as function:
        late = call(function)
        assert late["errorType"] == "Flowgate.Unavailable"
        assert "is being started" in late["errorMessage"]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A virtual environment in which the commands of infra/python-executor/Dockerfile have run: its `bin`, and its CMD."""
    venv = tmp_path_factory.mktemp("image") / "venv"
    subprocess.run([Path(os.environ["JINA"]) / "bin/python", "-m", "venv", venv], check=True)
    source = ROOT / "infra/python-executor"
    dockerfile = (source / "Dockerfile").read_text().replace("\\\n", "")
    stage = dockerfile.split("FROM ${BASE_IMAGE}")[1]
    variables = {**os.environ, "PATH": f"{venv}/bin:/usr/bin:/bin"}
    for command in re.findall(r"^RUN (.*)$", stage, re.MULTILINE):
        command = command.replace("/tmp/requirements.txt", str(source / "requirements.txt"))
        result = subprocess.run(["bash", "-ec", command], env=variables, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stdout + result.stderr
    (words,) = re.findall(r"^CMD (\[.*\])$", stage, re.MULTILINE)
    return venv / "bin", json.loads(words)


def test_the_image_installs_what_its_executor_needs(image, tmp_path):
    programs, command = image
    words = [PROGRAM, "--", programs / command[0], *command[1:]]
    started = {"FLOWGATE_COMMAND_START": "later", "JINA_OPTOUT_TELEMETRY": 1, "AWS_LAMBDA_FUNCTION_TIMEOUT": 60}
    directory = ROOT / "infra/python-executor/executor"
    with functions.emulated(words, tmp_path, name="executor-fn", cwd=directory, **started) as function:
        assert call(function)["data"][0]["text"] == "HELLO"


def test_every_package_of_the_image_has_one_version():
    lines = (ROOT / "infra/python-executor/requirements.txt").read_text().splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert packages and all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in packages)
