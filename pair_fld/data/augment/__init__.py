"""Geometric and photometric augmentation."""
