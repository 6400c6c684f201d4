"""The only reader of profile files: a name or a path in, a `HardwareProfile` out.

Shipped profiles are the YAML files of this folder; a path reads any other file, such as one
that a calibration wrote. Every fault of a file is a `ProfileError`. Knows nothing of jobs.

Parts: `names`, `load`; and, so that one import serves, `ProfileError`, `matmul_kernel`,
`matmul_training`, `peak_flop_per_s`, `with_overrides`.
"""

from functools import cache
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from hardware_profiles.errors import ProfileError, from_validation, nearest
from hardware_profiles.lookup import matmul_kernel, matmul_training, peak_flop_per_s
from hardware_profiles.overrides import with_overrides
from hardware_profiles.schema import HardwareProfile

__all__ = [
    "ProfileError",
    "load",
    "matmul_kernel",
    "matmul_training",
    "names",
    "peak_flop_per_s",
    "with_overrides",
]

_HERE = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml", ".json")
_MOST_BYTES = 50_000  # the shipped profiles have 5,000, with 45 flow mappings
_MOST_BRACKETS = 400  # nested ones cost the parser their square


@cache
def names() -> tuple[str, ...]:
    """Names of the shipped profiles, in order of the alphabet."""
    return tuple(sorted(path.stem for path in _HERE.glob("*.yaml")))


def load(name_or_path: str) -> HardwareProfile:
    """Return a shipped profile by its name, or the profile in a file by its path.

    A path has a separator or ends in .yaml, .yml or .json; so does no name.

    >>> load("dgx-h100").network[0].devices
    8
    """
    if name_or_path in names():
        return _shipped(name_or_path)
    if "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith(_SUFFIXES):
        return _read(Path(name_or_path), name_or_path)
    raise ProfileError(
        f"no machine profile {name_or_path[:80]!r}{nearest(name_or_path, names())}; "
        f"shipped: {', '.join(names())}; or give the path of a profile file"
    )


@cache
def _shipped(name: str) -> HardwareProfile:
    path = _HERE / f"{name}.yaml"
    return _read(path, path.name, own=True)


def _read(path: Path, file: str, *, own: bool = False) -> HardwareProfile:
    """Read a profile; `own`: a shipped one, which the parser in C may read."""
    text = _text(path, file)
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise ProfileError(f"a profile has at most {_MOST_BRACKETS} brackets", file=file)
    try:
        raw = YAML(typ="safe", pure=not own).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ProfileError(f"not YAML: {error.problem}", file=file, line=line) from None
    except RecursionError:
        raise ProfileError("nested too deeply for a profile", file=file) from None
    except (YAMLError, ValueError, TypeError) as error:
        raise ProfileError(f"not YAML: {str(error)[:200]}", file=file) from None
    if not isinstance(raw, dict):
        raise ProfileError("a profile is a mapping, starting with name: ...", file=file)
    try:
        return HardwareProfile.model_validate(raw)
    except ValidationError as error:
        raise from_validation(error, file, lambda loc: _line(text, loc)) from None
    except RecursionError:
        raise ProfileError("nested too deeply for a profile", file=file) from None


def _text(path: Path, file: str) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ProfileError(f"a profile has at most {_MOST_BYTES} bytes", file=file)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProfileError("no such file", file=file) from None
    except UnicodeDecodeError:
        raise ProfileError("not UTF-8 text", file=file) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ProfileError(f"cannot be read: {reason}", file=file) from None


def _line(text: str, loc: tuple[int | str, ...]) -> int | None:
    """1-based line of the key at `loc`, or of the innermost mapping around it that is there."""
    node: Node | None = YAML(typ="safe", pure=True).compose(text)
    line: int | None = None
    for part in loc:
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
