"""Why a model gave an answer: heat maps of the picture, facts that it states itself, and a text made of them."""

# Of `maps`, which imports Paddle; the first one is the default.
METHODS = ("combined", "rollout", "gradient", "occlusion")
