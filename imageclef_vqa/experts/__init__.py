"""The experts beside BLIP-2, each with `fit` and `answer`."""
