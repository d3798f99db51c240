"""Starts the function `executor-fn` under the emulator, for the tests of Executors.

Environment variables, in addition to the variables of `functions.py`:
    EXECUTOR_FN  the program
    TOOLS        the directory of a virtual environment with cargo-lambda
    JINA         the directory of a virtual environment with Jina 3.13.2
"""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import functions

EXECUTORS = Path(__file__).parent / "executors"
PROGRAM = Path(os.environ["EXECUTOR_FN"])


@contextmanager
def emulated(directory: Path, command=(), timeout=60, **variables):
    """Starts the function under the emulator. `command` is the wrapped command, `timeout` the function's in seconds."""
    own = {"AWS_LAMBDA_FUNCTION_TIMEOUT": timeout, "JINA_OPTOUT_TELEMETRY": 1, **variables}
    words = [PROGRAM, *(["--", *command] if command else [])]
    with functions.emulated(words, directory, name="executor-fn", cwd=EXECUTORS, **own) as function:
        yield function


def python_executor(config: str = "worker.yml") -> list:
    """Returns the command that serves one of the Executors in `executors/`."""
    jina = Path(os.environ["JINA"]) / "bin/jina"
    return [jina, "executor", "--uses", config, "--port", "{port}"]


def cargo_lambda_invoke(endpoint: str, payload: str, name="executor-fn", seconds: float = 60):
    """Runs `cargo lambda invoke` as a user does by hand."""
    port = endpoint.rpartition(":")[2]
    words = ["cargo", "lambda", "invoke", "-A", "127.0.0.1", "-P", port, name, "--data-ascii", payload]
    return subprocess.run(words, capture_output=True, text=True, timeout=seconds)

