"""Scripts that train the weights of the presets `tiny` and `lite`: first `tiny_language`, then `drawn_scenes`."""
