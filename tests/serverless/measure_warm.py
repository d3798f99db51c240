"""Measures the CPU time that a warm invocation takes in gateway-fn: JSON in, one `lambda://` Executor out.

It runs under Lambda's runtime interface emulator beside a minimal function with lambda_http, and optionally beside another
build of gateway-fn, in alternating rounds. What the Gateway adds is its own time less that of the minimal function. The
Executor is a stand-in in this process, whose time does not count.
"""

import argparse
import base64
import http.server
import json
import os
import statistics
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

from functions import HELLO, bootstrap, emulated, http_event

FLOW = """
jtype: Flow
version: '1'
gateway: {protocol: http, port: 8080, invoke: {warm_up: none}, function: {metrics: false}}
executors:
  - {name: encoder, host: 'lambda://encoder'}
"""


def answer(payload: bytes) -> bytes:
    """Returns the answer of an Executor that changes nothing: the only request of the list is the answer."""
    invocation = json.loads(payload)
    if "body" not in invocation:
        # Its endpoints, as jina.EndpointsProto.
        return json.dumps({"flowgate": 1, "body": base64.b64encode(b"\n\x01/").decode()}).encode()
    requests = base64.b64decode(invocation["body"])
    start = 1
    while requests[start] & 0x80:
        start += 1
    body = base64.b64encode(requests[start + 1 :]).decode()
    return json.dumps({"flowgate": 1, "body": body, "endpoints": ["/"]}).encode()


@contextmanager
def invoke_api():
    """Yields the URL of a stand-in for Lambda's Invoke API."""

    class Invoke(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = answer(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Invoke) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def process_of(program: Path) -> int:
    """Returns the process that runs this program, which the emulator has started."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "exe").resolve() == program.resolve():
                return int(entry.name)
        except OSError:
            pass
    raise LookupError(f"no process runs {program}")


def cpu_microseconds(process: int) -> float:
    """Returns the time that all threads of a process have run (`schedstat`, in nanoseconds)."""
    tasks = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1000


class Measured:
    """A function and its times."""

    def __init__(self, function, program: Path, event: dict):
        self.function, self.event, self.rounds = function, event, []
        # Until then the process is not warm.
        self.invoke(100)
        self.process = process_of(program)

    def invoke(self, times: int) -> None:
        for _ in range(times):
            response = self.function.invoke(self.event)
            assert response["statusCode"] == 200, response

    def measure(self, invocations: int) -> None:
        before = cpu_microseconds(self.process)
        self.invoke(invocations)
        self.rounds.append((cpu_microseconds(self.process) - before) / invocations)


def measure(programs: dict, rounds: int, invocations: int) -> dict:
    event = http_event("http_api", "POST", "/post", HELLO)
    with ExitStack() as stack:
        api = stack.enter_context(invoke_api())
        variables = {
            "FLOWGATE_FLOW": FLOW,
            "FLOWGATE_LOG": "error",
            "AWS_ENDPOINT_URL_LAMBDA": api,
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/26/[$LATEST]0",
        }
        functions = {}
        for name, program in programs.items():
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            function = stack.enter_context(emulated(program, directory, **variables))
            functions[name] = Measured(function, program, event)
        for _ in range(rounds):
            for function in functions.values():
                function.measure(invocations)
        return {name: function.rounds for name, function in functions.items()}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--invocations", type=int, default=400, help="in each round")
    arguments.add_argument("--against", type=Path, help="the bootstrap of another build of gateway-fn")
    options = arguments.parse_args()
    programs = {"hello": Path(os.environ["SERVERLESS_HELLO"]), "gateway-fn": bootstrap("gateway-fn")}
    if options.against:
        programs["other gateway-fn"] = options.against
    times = measure(programs, options.rounds, options.invocations)
    hello = statistics.median(times["hello"])
    for name, rounds in times.items():
        median = statistics.median(rounds)
        spread = f"from {min(rounds):.0f} to {max(rounds):.0f}"
        print(f"{name}: {median:.0f} us of CPU per warm invocation ({spread}), {median - hello:.0f} us more than hello")
    return 0


if __name__ == "__main__":
    sys.exit(main())
