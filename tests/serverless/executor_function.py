"""The function `executor-fn` under AWS's runtime interface emulator, or behind `cargo lambda watch`.

What the environment says:
    EXECUTOR_FN  the program; target/release/executor-fn of this repository unless set
    RIE          AWS's runtime interface emulator (aws-lambda-rie)
    TOOLS        the folder of a virtual environment with cargo-lambda
    JINA         the folder of a virtual environment with Jina 3.13.2
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
EXECUTORS = Path(__file__).resolve().parent / 'executors'
PROGRAM = Path(os.environ.get('EXECUTOR_FN', REPOSITORY / 'target/release/executor-fn'))

# What every function finds in its environment on Lambda.
LAMBDA = {
    'AWS_LAMBDA_FUNCTION_NAME': 'executor-fn',
    'AWS_LAMBDA_FUNCTION_VERSION': '1',
    'AWS_LAMBDA_FUNCTION_MEMORY_SIZE': '128',
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def wait_for_port(port: int, seconds: float = 30):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection(('127.0.0.1', port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def stop(process: subprocess.Popen):
    """Ends a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    except ProcessLookupError:
        pass


class Function:
    """A function that can be invoked."""

    def __init__(self, url: str, log: Path):
        self.url = url
        self._log = log

    def invoke(self, payload, seconds: float = 60):
        """The answer, or the error object, to a payload: a text, or what JSON is made of."""
        text = payload if isinstance(payload, str) else json.dumps(payload)
        request = urllib.request.Request(self.url, data=text.encode())
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return json.loads(answer.read())

    def log(self) -> str:
        return self._log.read_text(errors='replace')


@contextmanager
def emulated(directory: Path, command=(), timeout=60, program=PROGRAM, **variables):
    """The function under the emulator; `command` is what it wraps, `timeout` the function's own, in seconds."""
    port, api = free_port(), free_port()
    environment = {
        **os.environ,
        **LAMBDA,
        'AWS_LAMBDA_FUNCTION_TIMEOUT': str(timeout),
        'JINA_OPTOUT_TELEMETRY': '1',
        **variables,
    }
    addresses = [
        '--runtime-interface-emulator-address', f'127.0.0.1:{port}',
        '--runtime-api-address', f'127.0.0.1:{api}',
    ]
    words = [os.environ['RIE'], '--log-level', 'error', *addresses, str(program)]
    if command:
        words += ['--', *map(str, command)]
    log = directory / 'function.log'
    with open(log, 'wb') as output:
        process = subprocess.Popen(
            words,
            env=environment,
            cwd=EXECUTORS,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_port(port)
        yield Function(f'http://127.0.0.1:{port}/2015-03-31/functions/function/invocations', log)
    finally:
        stop(process)


def python_executor(config: str = 'worker.yml') -> list:
    """The command that serves one of the Executors beside this file."""
    jina = Path(os.environ['JINA']) / 'bin/jina'
    return [jina, 'executor', '--uses', config, '--port', '{port}']


@contextmanager
def watched(directory: Path, program=PROGRAM, name='executor-fn', **variables):
    """The function behind `cargo lambda watch --only-lambda-apis`; gives the port of its Invoke endpoint."""
    port = free_port()
    environment = {**os.environ, 'PATH': f'{os.environ["TOOLS"]}/bin:{os.environ["PATH"]}'}
    with open(directory / 'watch.log', 'wb') as output:
        watch = subprocess.Popen(
            ['cargo', 'lambda', 'watch', '-A', '127.0.0.1', '-P', str(port), '--only-lambda-apis'],
            env=environment,
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_port(port)
        own = {
            **os.environ,
            **LAMBDA,
            'AWS_LAMBDA_FUNCTION_NAME': name,
            'AWS_LAMBDA_RUNTIME_API': f'http://127.0.0.1:{port}/.rt/{name}',
            **variables,
        }
        with open(directory / 'function.log', 'wb') as output:
            function = subprocess.Popen(
                [str(program)], env=own, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            yield port
        finally:
            stop(function)
    finally:
        stop(watch)


def cargo_lambda_invoke(port: int, payload: str, name='executor-fn', seconds: float = 60):
    """What `cargo lambda invoke` prints, as people call it by hand."""
    environment = {**os.environ, 'PATH': f'{os.environ["TOOLS"]}/bin:{os.environ["PATH"]}'}
    words = ['cargo', 'lambda', 'invoke', '-A', '127.0.0.1', '-P', str(port), name, '--data-ascii', payload]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=seconds)
