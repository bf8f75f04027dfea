"""Fail if an object file compiled for one instruction set holds a weak symbol.

Why: of a weak symbol (an inline function, a template) the linker keeps any one copy for the whole program. If it keeps
the copy compiled with AVX-512, code that should run on every CPU crashes on an older one. See numpy#25274,
pytorch#14436, botan#5260.

Usage: check_isa_objects.py [--nm NM] OBJECT...
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

# nm's letters: W, V weak and defined; w, v weak and undefined; u unique global (an inline variable).
WEAK = frozenset("WVwvu")


def weak_symbols(nm: str, path: Path) -> tuple[list[str], int]:
    """Lines `letter name` for each weak symbol of the object file, and how many symbols it has in all."""
    # POSIX format: name, letter, value, size; mangled names hold no spaces.
    listing = subprocess.run([nm, "-P", str(path)], check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[:2] for line in listing.splitlines()]
    return [f"{letter} {name}" for name, letter in symbols if letter in WEAK], len(symbols)


def main() -> int:
    """Print a line per object; the exit status is 1 if any is at fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nm", default="nm", help="the nm program")
    parser.add_argument("objects", nargs="+", type=Path, metavar="OBJECT")
    options = parser.parse_args()
    failed = False
    for path in options.objects:
        weak, count = weak_symbols(options.nm, path)
        print(f"{path.name}: {len(weak)} weak of {count} symbols")
        for line in weak:
            print(f"  {line}")
        # An empty object would pass unseen.
        failed = failed or bool(weak) or count == 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
