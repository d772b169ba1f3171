"""Scripts that train the weights of the `tiny` preset: first `tiny_language`, then `tiny_vision`."""
