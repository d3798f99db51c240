"""Compares INIT of gateway-fn, with Flows of each transport, with INIT of a minimal function with lambda_http.

All run in turn under Lambda's runtime interface emulator, each time in a new process, so that other load affects all
equally. Prints the ratios of the medians, and fails when one is above its limit.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from functions import bootstrap, emulated, http_event

FLOW = """
jtype: Flow
version: '1'
gateway: {{protocol: http, port: 8080, invoke: {{warm_up: none}}}}
executors:
  - {{name: encoder, host: '{scheme}encoder{port}', retries: 0}}
  - {{name: indexer, host: '{scheme}indexer{port}', retries: 0}}
"""

#: The ports of addresses that have one; nothing is connected at start.
FLOWS = {
    "grpc": FLOW.format(scheme="grpc://", port=":9"),
    "grpcs": FLOW.format(scheme="grpcs://", port=":9"),
    "lambda": FLOW.format(scheme="lambda://", port="").replace(", retries: 0", ""),
}

#: A developer's machine may name a file of roots, which would be read in place of those that are compiled in.
WITHOUT_ROOTS_FILE = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": ""}

#: The largest ratio to the minimal function. One run spreads by a tenth on a busy machine.
LIMITS = {"grpc": 1.3, "grpcs": 1.6, "lambda": 1.6}


def init(program: Path, **variables) -> float:
    with tempfile.TemporaryDirectory() as directory:
        with emulated(program, Path(directory), **variables) as function:
            function.invoke(http_event("http_api", "GET", "/"))
            function.program.wait_for_log("INIT REPORT")
            return function.init_milliseconds()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=40)
    options = arguments.parse_args()
    hello = Path(os.environ["SERVERLESS_HELLO"])
    times = {"hello": [], **{scheme: [] for scheme in FLOWS}}
    for _ in range(options.runs):
        times["hello"].append(init(hello))
        for scheme, flow in FLOWS.items():
            variables = {"FLOWGATE_FLOW": flow, "FLOWGATE_LOG": "error", **WITHOUT_ROOTS_FILE}
            times[scheme].append(init(bootstrap("gateway-fn"), **variables))
    medians = {name: statistics.median(durations) for name, durations in times.items()}
    for name, durations in times.items():
        print(f"{name}: median {medians[name]:.2f} ms, from {min(durations):.2f} to {max(durations):.2f}")
    failed = False
    for scheme, limit in LIMITS.items():
        ratio = medians[scheme] / medians["hello"]
        failed |= ratio > limit
        print(f"{scheme}: {ratio:.2f} times hello, at most {limit}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
