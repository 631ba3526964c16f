"""Training: one loop, its losses, its checkpoints, and what the two stages put into them."""
