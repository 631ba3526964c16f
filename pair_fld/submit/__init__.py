"""The submission archive: packed, described, held to its budget, and proven in a clean environment."""
