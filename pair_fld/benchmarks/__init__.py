"""Speed measured by command: training, detectors, model files, the runner."""
