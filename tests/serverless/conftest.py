"""Checks that the tests were started by `run`, which sets their environment."""

import os
from pathlib import Path

# Without the variables that `run` sets, every test would fail on its own.
if "SERVERLESS_BOOTSTRAPS" not in os.environ:
    raise RuntimeError(f"start these tests by {Path(__file__).parent / 'run'}")
