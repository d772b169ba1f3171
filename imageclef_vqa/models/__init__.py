"""The parts of BLIP-2: sizes and layers. Tensors only: no questions, no files of weights."""
