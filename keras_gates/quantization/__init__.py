"""Quantization-aware training: models whose forward pass is the arithmetic of the integer file they are exported to."""
