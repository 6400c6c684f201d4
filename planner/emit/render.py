"""Templates of Python files in which every value comes out as a Python literal.

A template cannot let a value out unquoted: what stands in `{{ }}` is written by `repr`, save for
`Source`, which is text that an emitter wrote itself. Jinja2 is imported when used.

Parts: `Source`, `literal`, `render`.
"""

from pathlib import Path

__all__ = ["Source", "literal", "render"]

_HERE = Path(__file__).parent
_PLAIN = (int, float, bool, type(None))


class Source(str):
    """Python source by an emitter's own hand, written as it is; never a value of the user's."""

    __slots__ = ()


def literal(value: object) -> str:
    r"""Return the Python literal of a plain value.

    >>> literal(("tp", None)), literal('"\n')
    ('("tp", None)', '\'"\\\\n\'')
    """
    if isinstance(value, Source):
        return str(value)
    if isinstance(value, str):
        plain = value.isascii() and value.isprintable() and not set(value) & set('"\\')
        return f'"{value}"' if plain else ascii(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, tuple):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, _PLAIN):
        return repr(value)
    raise TypeError(f"no literal for a {type(value).__name__}")


def render(template: str, **values: object) -> str:
    """Fill `template`, a `.py.j2` file of this folder; each value becomes a Python literal."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        undefined=StrictUndefined,
        finalize=literal,
        autoescape=False,  # noqa: S701  Python, not HTML: `literal` does the quoting
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)
