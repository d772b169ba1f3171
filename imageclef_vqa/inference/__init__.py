"""Answers from a trained model: what may be said, and what is most likely."""
