"""Emitted files on disk: whole or not at all, and never outside the folder that was asked for.

Each file is written beside its place under a name of its own and then moved there, so a reader
sees the old file or the new one. Scripts (`.sh`) come out executable. Knows no framework.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from planner.errors import SpecError

__all__ = ["write_files"]


def write_files(files: Mapping[str, str], out_dir: Path) -> list[Path]:
    """Write `files` (relative path -> text) under `out_dir` and return their paths.

    SpecError where a path leaves `out_dir`, also through a link, or where the disk refuses. No
    file is moved to its place before all of them are written.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        root = out_dir.resolve(strict=True)
        places = {path: _place(root, path) for path in files}
        with tempfile.TemporaryDirectory(prefix=".sixfold-", dir=root) as staging:
            staged: list[tuple[Path, Path]] = []
            for number, (path, place) in enumerate(places.items()):
                fresh = Path(staging) / str(number)
                fresh.write_text(files[path], encoding="utf-8", newline="\n")
                fresh.chmod(0o755 if place.suffix == ".sh" else 0o644)
                staged.append((fresh, place))
            for fresh, place in staged:
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(fresh, place)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecError(f"cannot write there: {reason}", key="--out", file=str(out_dir)) from None
    return list(places.values())


def _place(root: Path, path: str) -> Path:
    """Where `path` goes, all links followed; SpecError where that is not under `root`."""
    pure = PurePosixPath(path)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise SpecError(f"not a path inside the folder: {ascii(path)[:80]}", key="--out")
    place = root.joinpath(*pure.parts)
    if not place.parent.resolve().is_relative_to(root) or place.is_dir():
        raise SpecError(f"not a file inside the folder: {ascii(path)[:80]}", key="--out")
    return place
