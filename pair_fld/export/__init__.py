"""Weights to files: ONNX, quantized graphs, TFLite flatbuffers; what they cost and how well they agree."""
