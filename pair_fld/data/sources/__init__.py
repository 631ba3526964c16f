"""Label sources: what a dataset holds, listed."""
