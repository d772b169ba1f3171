"""What each command does, as one function: the public Python API, whose names the package itself offers."""
