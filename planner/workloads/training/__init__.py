"""Training of decoder-only transformers."""
