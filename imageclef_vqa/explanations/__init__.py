"""Why a model gave an answer: heat maps of the picture, facts that it states itself, and a text made of them."""

METHODS = (
    "combined",
    "rollout",
    "gradient",
    "occlusion",
)  # of `maps`, which imports Paddle; the first one is the default
