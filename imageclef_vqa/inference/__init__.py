"""Answers of trained models: constrained decoding, calibration, ensembles, prediction files."""
