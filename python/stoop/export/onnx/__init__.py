"""ONNX files: steps become nodes, and nodes become layers again."""
