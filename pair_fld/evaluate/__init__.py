"""Measuring landmarks: NME under named normalisers, failure rate, AUC, reports."""
