"""Why a model gave an answer: heat maps of the picture, facts that it states itself, and a text made of them."""
