"""Run a command that builds with Ninja, and show how far it is instead of what it says; all of that where it fails.

On a terminal one line counts up, elsewhere a line is printed for every tenth part.

Usage: build_progress.py COMMAND [ARGUMENT...]
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

STEP = re.compile(r"\[(\d+)/(\d+)\] (.*)")  # Ninja: [7/55] Building CXX object CMakeFiles/stoop.dir/cpp/src/x.cpp.o
WIDTH = 78


class Progress:
    """What is shown of the steps of a build."""

    def __init__(self) -> None:
        self.on_terminal = sys.stdout.isatty()
        self.tenth = 0

    def show(self, done: int, total: int, what: str) -> None:
        """Tell of one step, or not."""
        if self.on_terminal:
            print(f"\r   [{done}/{total}] {what.rsplit('/', 1)[-1]}"[:WIDTH].ljust(WIDTH), end="", flush=True)
        elif 10 * done // total > self.tenth:
            self.tenth = 10 * done // total
            print(f"   [{done}/{total}]", flush=True)

    def end(self) -> None:
        """Leave the line that counts up."""
        if self.on_terminal:
            print("\r" + " " * WIDTH, end="\r", flush=True)


def main(command: list[str]) -> int:
    """Run the command; its exit status."""
    start, progress, said = time.monotonic(), Progress(), []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, errors="replace", **pipes) as run:
        assert run.stdout is not None
        for line in run.stdout:
            said.append(line)
            if step := STEP.search(line):
                progress.show(int(step[1]), int(step[2]), step[3])
    progress.end()
    if run.returncode != 0:
        sys.stderr.writelines(said)
    else:
        print(f"   done in {time.monotonic() - start:.0f} s", flush=True)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
