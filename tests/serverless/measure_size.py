"""Measures what `cargo lambda deploy` uploads: the size of each zip, and the glibc version that each bootstrap requires."""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from functions import bootstrap

#: The largest zips in MB; Lambda itself allows 50. That of the Gateway has room for the types of `lambda_http`.
MAX_ZIP_MEGABYTES = {"gateway-fn": 4.2, "executor-fn": 2.0}

#: The glibc of provided.al2023.
MAX_GLIBC = (2, 34)


def zip_megabytes(program: Path) -> float:
    with tempfile.TemporaryFile() as packed:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(program, "bootstrap")
        return packed.tell() / 1e6


def required_glibc(program: Path) -> tuple:
    symbols = subprocess.run(["objdump", "-T", program], capture_output=True, text=True, check=True).stdout
    return max(tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_(\d+\.\d+)", symbols))


def main() -> int:
    fits = True
    for name, limit in MAX_ZIP_MEGABYTES.items():
        program = bootstrap(name)
        size, required = zip_megabytes(program), required_glibc(program)
        print(f"{name}: {program.stat().st_size / 1e6:.2f} MB, zipped {size:.2f} MB of {limit:.1f}, glibc {required[0]}.{required[1]}")
        fits &= size <= limit and required <= MAX_GLIBC
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
