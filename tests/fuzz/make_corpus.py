"""Write the inputs that the fuzzer of configurations begins with: the texts that the golden files hold.

``tests/fuzz/corpus/config/NAME`` begins with the letter that says what the rest is, see ``fuzz_config.cpp``. The other
fuzzers begin with the golden files themselves. What once made a reader crash is kept beside these, as ``crash-...``.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CORPUS = TESTS / "fuzz" / "corpus" / "config"
OTHERS = {
    "optimizer": 'o{"type":"adam","learning_rate":{"type":"cosine","lr":0.01,"end":0.0,"steps":9,"per":"epoch"}}',
    "rate": 'r{"type":"warmup","then":{"type":"step","lr":0.1,"factor":0.5,"every":3,"per":"step"},"steps":2}',
    "loss": 'l{"type":"huber","delta":0.5}',
    "loss-name": "lmse",
}


def header_of(path: Path) -> str:
    content = path.read_bytes()
    return content[8 : 8 + struct.unpack("<Q", content[:8])[0]].decode()


def main() -> None:
    CORPUS.mkdir(parents=True, exist_ok=True)
    texts = dict(OTHERS)
    for path in sorted((TESTS / "golden").glob("*/*/*-float32.safetensors")):
        header = header_of(path)
        metadata = json.loads(header)["__metadata__"]
        if path.parent.name == "model":
            texts[path.stem] = "m" + metadata["stoop.model"]
        if path.parent.name == "checkpoint":
            texts[path.stem] = "c" + metadata["stoop.training"]
            texts[f"{path.stem}-trainer"] = "t" + json.dumps(json.loads(metadata["stoop.training"])["trainer"])
        if path.parent.name == "ensemble":
            texts[path.stem] = "h" + header
    for name, text in texts.items():
        (CORPUS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
