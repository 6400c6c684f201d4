"""Importers: models that were described elsewhere, read into ours."""
