"""A Matplotlib drawing as SVG that belongs in a page: its own ids, the page's colours, no dates.

Matplotlib is imported when something is drawn, not before. Text stays text, and is never read as
formulas: a name with dollar signs or angle brackets is drawn as it is.
"""

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal
from xml.dom import minidom

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "drawing", "rendered"]

# Stand-ins that no drawing uses otherwise; each becomes the page's variable of that name.
COLOURS = {
    "ink": "#0101f1",
    "soft": "#0101f2",
    "c1": "#0101f3",
    "c2": "#0101f4",
    "c3": "#0101f5",
    "c4": "#0101f6",
    "c5": "#0101f7",
}
_VARIABLES = {value: f"var(--{name})" for name, value in COLOURS.items()}
_STAND_IN = re.compile("|".join(map(re.escape, _VARIABLES)))
_REFERENCE = re.compile(r"url\(#|^#")


def drawing(
    name: str, told: str, size_in: tuple[float, float], draw: Callable[["Axes"], None]
) -> str:
    """Return what `draw` draws as an SVG element.

    Parameters
    ----------
    name    : prefix of its ids, unique in the page
    told    : what the drawing shows, for those who cannot see it
    size_in : width and height in inches; the page scales it
    draw    : called with the axes to draw on
    """
    ink, soft = COLOURS["ink"], COLOURS["soft"]
    text = rendered(name, size_in, draw, layout="tight", ink=ink, soft=soft, transparent=True)
    return _in_page(text, name, told)


def rendered(
    salt: str,
    size_in: tuple[float, float],
    draw: Callable[["Axes"], None],
    *,
    layout: Literal["constrained", "tight"],
    ink: str = "black",
    soft: str = "black",
    transparent: bool = False,
) -> str:
    """Return an SVG file; text stays text, names are never read as formulas, no date is in it.

    Parameters
    ----------
    salt      : of the ids in the file: the same salt and drawing give the same bytes
    ink, soft : colours of text, and of axes and their ticks
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with (
        warnings.catch_warnings(),
        mpl.rc_context(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": salt,
                "text.parse_math": False,
                "text.usetex": False,
                "axes.unicode_minus": False,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.edgecolor": soft,
                "axes.labelcolor": ink,
                "text.color": ink,
                "xtick.color": soft,
                "ytick.color": soft,
                "xtick.labelcolor": ink,
                "ytick.labelcolor": ink,
                "font.size": 9,
            }
        ),
    ):
        warnings.simplefilter("ignore")  # glyphs that our fonts lack: the reader's will draw them
        figure = Figure(figsize=size_in, layout=layout)
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=transparent)
    return text.getvalue()


def _in_page(svg: str, name: str, told: str) -> str:
    document = minidom.parseString(svg)
    root = document.documentElement
    assert root is not None
    for metadata in root.getElementsByTagName("metadata"):
        metadata.parentNode.removeChild(metadata)  # type: ignore[union-attr]
    for element in [root, *root.getElementsByTagName("*")]:
        for key, value in list(element.attributes.items()):
            element.setAttribute(key, _rewritten(key, value, name))
    for key in ("width", "height"):
        root.removeAttribute(key)
    root.setAttribute("role", "img")
    root.setAttribute("aria-label", told)
    return root.toxml()


def _rewritten(key: str, value: str, name: str) -> str:
    """Make ids unique in the page, references follow, and colours the page's."""
    if key == "id":
        return f"{name}-{value}"
    if key.startswith("xmlns"):
        return value
    value = _STAND_IN.sub(lambda match: _VARIABLES[match.group()], value)
    return _REFERENCE.sub(lambda match: f"{match.group()}{name}-", value)
