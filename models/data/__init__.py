"""Data loaders: built-in data, TFDS, the user's files, and the pipeline that all models share."""
