"""Weights in files: published formats and ours, read tensor by tensor and never unpickled."""
