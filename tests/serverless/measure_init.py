"""Compares INIT of gateway-fn, with a Flow of gRPC Executors, with INIT of a minimal function with lambda_http.

Both run alternately under Lambda's runtime interface emulator, each time in a new process, so that other load affects
both equally. Prints the ratio of the medians, and fails when it is above the limit.
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
gateway: {protocol: http, port: 8080}
executors:
  - {name: encoder, host: 'grpc://127.0.0.1:9', retries: 0}
  - {name: indexer, host: 'grpc://127.0.0.1:9', retries: 0}
"""


def init(program: Path, **variables) -> float:
    with tempfile.TemporaryDirectory() as directory:
        with emulated(program, Path(directory), **variables) as function:
            function.invoke(http_event("http_api", "GET", "/"))
            function.program.wait_for_log("INIT REPORT")
            return function.init_milliseconds()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=40)
    arguments.add_argument("--limit", type=float, default=1.5)
    options = arguments.parse_args()
    hello = Path(os.environ["SERVERLESS_HELLO"])
    times = {"hello": [], "gateway-fn": []}
    for _ in range(options.runs):
        times["hello"].append(init(hello))
        times["gateway-fn"].append(init(bootstrap("gateway-fn"), FLOWGATE_FLOW=FLOW, FLOWGATE_LOG="error"))
    for name, durations in times.items():
        print(f"{name}: median {statistics.median(durations):.2f} ms, from {min(durations):.2f} to {max(durations):.2f}")
    ratio = statistics.median(times["gateway-fn"]) / statistics.median(times["hello"])
    print(f"ratio of the medians: {ratio:.2f}, at most {options.limit}")
    return 0 if ratio <= options.limit else 1


if __name__ == "__main__":
    sys.exit(main())
