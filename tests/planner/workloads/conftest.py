"""Where the judges of workloads find what they share: tests/helpers."""

import sys
from pathlib import Path

_HELPERS = str(Path(__file__).parents[2] / "helpers")
if _HELPERS not in sys.path:
    sys.path.append(_HELPERS)
