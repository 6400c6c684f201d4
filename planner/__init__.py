"""Sixfold: plans distributed AI jobs. The version is stated here and in ``pyproject.toml``."""

__all__ = ["__version__"]

__version__ = "0.1.0"
