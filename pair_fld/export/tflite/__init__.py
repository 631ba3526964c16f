"""ONNX graphs written as TFLite files."""
