"""Figures and pages for people: what `pairfld report` writes, and the figures of an archive's technical report."""
