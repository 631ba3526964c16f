"""The project's own face detector: net, training data, training, export."""
