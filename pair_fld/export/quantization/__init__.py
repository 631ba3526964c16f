"""Calibration, int8 formats, fine-tuning and the parity gates."""
