"""Solvers and searches: they know columns and costs, nothing of jobs."""
