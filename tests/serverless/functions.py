"""Runs the release bootstraps as functions, under Lambda's runtime interface emulator or `cargo lambda watch`."""

import base64
import http.server
import json
import os
import re
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

from processes import free_port, running

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAPS = Path(os.environ["SERVERLESS_BOOTSTRAPS"])
EVENTS = ROOT / "tests/events"

#: A request with one document, as Jina's HTTP clients send it.
HELLO = {"data": [{"text": "hello"}], "execEndpoint": "/"}

FLOW_IN_PROCESS = """
jtype: Flow
version: '1'
gateway: {protocol: http, port: 8080}
executors:
  - {name: greeter, uses: 'inproc://greet'}
"""


def bootstrap(name: str) -> Path:
    return BOOTSTRAPS / name / "bootstrap"


def lambda_variables(name: str) -> dict:
    """Returns the environment variables that Lambda sets for every function."""
    return {
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    }


class HttpResponse:
    """An HTTP response of any status, including those that urllib raises as errors."""

    def __init__(self, url: str, body=None, headers=(), method=None, seconds: float = 60):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **dict(headers)}
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            response = urllib.request.urlopen(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)


class Emulated:
    """A function under the runtime interface emulator."""

    def __init__(self, program, port: int):
        self.program = program
        self.endpoint = f"http://127.0.0.1:{port}"
        self.url = f"{self.endpoint}/2015-03-31/functions/function/invocations"

    def invoke(self, event):
        """Returns the response or the error object. A string is sent unchanged, even if it is invalid JSON."""
        return HttpResponse(self.url, event.encode() if isinstance(event, str) else event).json()

    def log(self) -> str:
        return self.program.log()

    def init_milliseconds(self) -> float:
        # `Init Duration` in the REPORT line is not the duration of the process's INIT.
        return float(re.search(r"INIT REPORT\(durationMs: ([0-9.]+)", self.program.log())[1])


@contextmanager
def emulated(program, directory: Path, name="gateway-fn", cwd=None, **variables):
    """Starts a function under the emulator. `program` is a bootstrap, or a list of it and its arguments."""
    port, api = free_port(), free_port()
    words = [
        os.environ["RIE"],
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{api}"),
        *(program if isinstance(program, list) else [program]),
    ]
    everything = {**lambda_variables(name), **variables}
    with running(words, directory / "function.log", cwd=cwd, **everything) as emulator:
        emulator.wait_for_port(port)
        yield Emulated(emulator, port)


@contextmanager
def one_at_a_time(endpoint: str):
    """Yields a proxy that sends one invocation at a time: the emulator crashes on concurrent invocations."""
    lock = threading.Lock()

    class Forward(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                response = HttpResponse(endpoint + self.path, body)
            self.send_response(response.status)
            self.send_header("content-length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Watched:
    """Functions behind `cargo lambda watch --only-lambda-apis`."""

    def __init__(self, port: int, programs: dict):
        self.endpoint, self.programs = f"http://127.0.0.1:{port}", programs

    def invoke(self, name: str, event):
        return HttpResponse(f"{self.endpoint}/2015-03-31/functions/{name}/invocations", event)

    def request(self, name: str, path: str, body=None, **options):
        """Sends an HTTP request to the function's URL at `watch`."""
        return HttpResponse(f"{self.endpoint}/lambda-url/{name}{path}", body, **options)


@contextmanager
def watched(directory: Path, functions: dict):
    """Starts `functions`, a dict from name to (bootstrap, variables), behind `cargo lambda watch`."""
    port = free_port()
    words = ["cargo", "lambda", "watch", "-A", "127.0.0.1", "-P", port, "--only-lambda-apis"]
    with ExitStack() as stack:
        watch = stack.enter_context(running(words, directory / "watch.log", cwd=project(directory, functions)))
        watch.wait_for_port(port)
        programs = {}
        for name, (program, variables) in functions.items():
            everything = {
                **lambda_variables(name),
                "AWS_LAMBDA_RUNTIME_API": f"http://127.0.0.1:{port}/.rt/{name}",
                "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{port}",
                **variables,
            }
            started = running([program], directory / f"{name}.log", **everything)
            programs[name] = stack.enter_context(started)
        yield Watched(port, programs)


def project(directory: Path, names) -> Path:
    """Creates a project with a binary per function: `watch` accepts invocations only for these binaries, though it builds none."""
    manifest = '[package]\nname = "functions"\nversion = "0.1.0"\n[workspace]\n'
    manifest += "".join(f'[[bin]]\nname = "{name}"\npath = "main.rs"\n' for name in names)
    project = directory / "project"
    project.mkdir()
    (project / "Cargo.toml").write_text(manifest)
    (project / "main.rs").write_text("fn main() {}\n")
    return project


def event(name: str) -> dict:
    return json.loads((EVENTS / f"{name}.json").read_text())


def http_event(name: str, method: str, path: str, body=None) -> dict:
    """Returns an event of AWS's documentation with this method, path and body."""
    changed = event(name)
    context = changed.get("requestContext", {})
    if "http" in context:
        changed["rawPath"], changed["rawQueryString"] = path, ""
        context["http"].update(method=method, path=path)
    elif "serviceArn" in context:
        changed.update(method=method, path=path)
    elif "raw_path" in changed:
        changed.update(method=method, raw_path=path)
    else:
        changed.update(httpMethod=method, path=path)
    for query in ("queryStringParameters", "multiValueQueryStringParameters", "query_string_parameters"):
        changed.pop(query, None)
    for headers, value in (("headers", "application/json"), ("multiValueHeaders", ["application/json"])):
        if headers in changed:
            changed[headers] = {**changed[headers], "content-type": value}
    changed["body"] = None if body is None else json.dumps(body)
    changed["isBase64Encoded"] = False
    return changed


def body_of(response: dict):
    """Parses the JSON body of a proxy integration's response."""
    body = response["body"]
    return json.loads(base64.b64decode(body) if response.get("isBase64Encoded") else body)


def texts(response: dict) -> list:
    return [document.get("text") for document in response["data"]]


def executors(response: dict) -> list:
    return [route["executor"] for route in response["routes"]]
