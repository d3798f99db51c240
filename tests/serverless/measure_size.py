"""What `cargo lambda deploy` uploads: the size of each zip, and the newest glibc that each bootstrap asks for."""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from functions import bootstrap

#: MB at most; Lambda itself takes 50.
LIMITS = {"gateway-fn": 4.0, "executor-fn": 2.0}

#: What provided.al2023 has.
GLIBC = (2, 34)


def zipped(program: Path) -> float:
    with tempfile.TemporaryFile() as packed:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(program, "bootstrap")
        return packed.tell() / 1e6


def glibc(program: Path) -> tuple:
    symbols = subprocess.run(["objdump", "-T", program], capture_output=True, text=True, check=True).stdout
    return max(tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_(\d+\.\d+)", symbols))


def main() -> int:
    fits = True
    for name, limit in LIMITS.items():
        program = bootstrap(name)
        size, needs = zipped(program), glibc(program)
        print(f"{name}: {program.stat().st_size / 1e6:.2f} MB, zipped {size:.2f} MB of {limit:.1f}, glibc {needs[0]}.{needs[1]}")
        fits &= size <= limit and needs <= GLIBC
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
