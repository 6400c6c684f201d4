"""``python -m planner`` and the command ``sixfold``."""

from planner.cli import app

__all__ = ["main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and exit with its code."""
    app(prog_name="sixfold")


if __name__ == "__main__":
    main()
