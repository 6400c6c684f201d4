"""The measured training runs that travel with the repository, made ready to be priced.

Parts: `runs_files` (the files, unpacked for a while), `prepared_runs`.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from planner.validate.prepared import Priced, prepare_all

__all__ = ["FOLDER", "prepared_runs", "runs_files"]

FOLDER = Path(__file__).parent / "data" / "training"


@contextmanager
def runs_files(folder: Path = FOLDER) -> Iterator[list[Path]]:
    """Unpack the packed runs files of a folder; they are gone when the context ends."""
    with TemporaryDirectory() as made:
        for packed in folder.glob("*.yaml.gz"):
            (Path(made) / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
        yield sorted(Path(made).glob("*.yaml"))


def prepared_runs(folder: Path | None = None) -> list[Priced]:
    """Resolve the runs of the repository, or those of a folder of plain runs files."""
    if folder is not None:
        return prepare_all(sorted(folder.glob("*.yaml")))
    with runs_files() as files:
        return prepare_all(files)
