"""The README's way to an own Gateway function with an own Executor: makes the crate from its text, builds it with `cargo lambda
build`, and makes its call.
"""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from functions import BOOTSTRAPS, ROOT, executors, texts
from processes import free_port, running

SECTION = (ROOT / "README.md").read_text().split("## Your own Gateway function and Executor")[1].split("\n## ")[0]

#: The first build compiles the dependencies.
BUILD_SECONDS = 1800

pytestmark = pytest.mark.timeout(2 * BUILD_SECONDS)

#: Stays between the runs, so that the dependencies are compiled once.
TARGET = ROOT / "target/own-crate"


def command_with(text: str) -> list:
    (line,) = [line for line in SECTION.splitlines() if line.startswith(text)]
    return shlex.split(line)


def cargo(*words, crate: Path) -> str:
    """Runs cargo without a network: everything that the crate needs is in the lock file of this workspace."""
    settings = {"CARGO_TARGET_DIR": str(TARGET), "CARGO_NET_OFFLINE": "true", "CARGO_PROFILE_DEV_DEBUG": "0"}
    variables = {**os.environ, **settings}
    result = subprocess.run(
        ["cargo", *words], cwd=crate, env=variables, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def crate(tmp_path_factory):
    """The crate, built without optimization."""
    crate = tmp_path_factory.mktemp("own") / "my-flow"
    files = re.findall(r"`([\w./-]+)`[^\n`]*:\n\n```(?:toml|rust|yaml)\n(.*?)```", SECTION, re.DOTALL)
    assert [name for name, _ in files] == [
        "Cargo.toml",
        "src/lib.rs",
        "src/bin/shouter.rs",
        "src/bin/my-gateway.rs",
        "flow.yml",
    ]
    for name, text in files:
        (crate / name).parent.mkdir(parents=True, exist_ok=True)
        (crate / name).write_text(text)
    (crate.parent / "flowgate").symlink_to(ROOT)
    (crate / "Cargo.lock").write_text((ROOT / "Cargo.lock").read_text())
    build = command_with("cargo lambda build")
    assert build == ["cargo", "lambda", "build", "--release"]
    cargo("lambda", "build", "--skip-target-check", crate=crate)
    (crate / "target").symlink_to(TARGET)
    return crate


def test_the_call_is_answered_by_the_executor_inside_and_by_its_function(crate, tmp_path):
    _, *options = command_with("flowgate local")
    http, websocket, invoke = (free_port() for _ in range(3))
    ports = ["--http", http, "--websocket", websocket, "--lambda", invoke]
    words = [BOOTSTRAPS / "flowgate/bootstrap", *options, *ports]
    with running(words, tmp_path / "log", cwd=crate) as program:
        program.wait_for_port(http)
        call = [word.replace("127.0.0.1:3000", f"127.0.0.1:{http}") for word in command_with("curl")]
        answer = subprocess.run(call, capture_output=True, check=True, timeout=60)
        response = json.loads(answer.stdout)
        assert texts(response) == ["HELLO!!"], program.log()
        assert executors(response) == ["gateway", "inside", "function"]


def test_the_flow_is_deployed_beside_the_bootstrap_that_reads_it(crate):
    for name, expected in [("shouter", {"bootstrap"}), ("my-gateway", {"bootstrap", "flow.yml"})]:
        _, *words = command_with(f"cargo lambda deploy {name} ")
        output = cargo(*words, "--dry", "--output-format", "json", crate=crate)
        assert set(json.loads(output[output.index("{") :])["files"]) == expected
