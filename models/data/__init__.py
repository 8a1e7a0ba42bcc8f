"""Loaders of data: what is built in, TFDS, and the pipeline all models share."""
