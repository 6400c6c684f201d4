"""The command line: reads arguments, calls, prints. Every number comes from elsewhere.

What a command needs is imported inside it, so that help and errors come at once. With
``--json -`` standard output holds JSON alone; progress and notes go to standard error.
"""

from planner.cli.commands import app

__all__ = ["app"]
