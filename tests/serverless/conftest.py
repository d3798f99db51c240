"""What holds for all of the tests."""

import os
from pathlib import Path

# Tests start programs by what `run` has found; started by hand they say so instead of failing one by one.
if "SERVERLESS_BOOTSTRAPS" not in os.environ:
    raise RuntimeError(f"start these tests by {Path(__file__).parent / 'run'}")
