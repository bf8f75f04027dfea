"""Models in the formats of others: ONNX files, and back.

The package onnx reads and writes them: ``pip install "stoop[onnx]"``.
"""

from stoop.export._to_onnx import to_onnx

__all__ = ["to_onnx"]
