"""Weights to files: ONNX, quantized graphs, TFLite flatbuffers; what the files cost and how well they agree."""
