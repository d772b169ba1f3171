"""Metrics of sentences: BLEU, ROUGE, METEOR, exact match, and the facts in them."""
