"""Run `sixfold` with a calibration cut to a few short points: what tests of the door start.

Set by the environment: FEW_POINTS_UNTIL, after how many points the process ends by itself.
"""

import math
import os

from planner.calibrate import journal


def main() -> None:
    """Cut the menu and the effort, then be `sixfold`."""
    from planner.calibrate.menu import Scope, menu
    from planner.calibrate.points import Point, Reading
    from planner.calibrate.timing import Effort

    def few(scope: Scope) -> list[Point]:
        smallest: dict[tuple[str, str, str, int, int], Point] = {}
        for point in sorted(menu(scope), key=lambda point: math.prod(point.sizes.values())):
            some = not point.level or point.kind in ("all_reduce", "permute")
            if point.held or point.busy > (len(scope.levels) == 1) or not some:
                continue
            alike = (point.kind, point.precision, point.level, point.busy,
                     point.sizes.get("ranks", 0))  # fmt: skip
            smallest.setdefault(alike, point)
        return list(smallest.values())

    ends = int(os.environ.get("FEW_POINTS_UNTIL", "0"))
    added = journal.Journal.add

    def add(self: journal.Journal, point: Point, reading: Reading) -> None:
        added(self, point, reading)
        if ends and len(self.readings) >= ends:
            os._exit(9)

    journal.Journal.add = add  # type: ignore[method-assign]
    from planner.calibrate import run

    run.menu = few
    run.QUICK = Effort(0.002, 2)
    from planner.__main__ import main as sixfold

    sixfold()


if __name__ == "__main__":
    main()
