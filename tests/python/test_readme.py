"""The example of the README runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

from helpers import REPOSITORY, run_python


def test_the_first_example(tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    example = re.search(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert example, "README.md has no ```python block"
    run_python("-c", example[1], cwd=tmp_path, timeout=60)
