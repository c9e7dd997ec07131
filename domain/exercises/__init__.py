"""The exercise catalogue, our own data file, and the matching of exported exercise names to it."""
