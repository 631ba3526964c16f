"""Everything that runs a shipped model: numpy, OpenCV and one model runtime, nothing else.

This package is copied unchanged into every submission archive, so it imports nothing from the rest of
`pair_fld`, uses relative imports only, and reports faults as plain `ValueError` or `OSError`.
"""

import os

# ONNX Runtime 1.32 writes a device identifier to the cache folder and sends usage to its maker unless told not to
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
