"""The parts of BLIP-2, their sizes and their weights: tensors only, no questions."""
