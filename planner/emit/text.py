"""Text of emitted files: values made inert, comment headers, what a framework cannot express.

Whatever a user wrote (names, paths, free text) passes through here before it stands in a script.
Knows shell and Python quoting; knows no plan and no framework.

Parts: `one_line`, `shell_word`, `Header`, `wrap`.
"""

import json
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Header", "one_line", "shell_word", "wrap"]

LONGEST = 200
WIDTH = 98


def one_line(value: object) -> str:
    r"""Return text that is inert in a comment: one line of ASCII, of LONGEST characters at most.

    >>> one_line("a\n$(b)")
    'a\\n$(b)'
    """
    return json.dumps(str(value)[:LONGEST])[1:-1]


def shell_word(value: object) -> str:
    r"""Return one shell word that expands to the value itself; control characters become spaces.

    >>> shell_word("it's $HOME\n")
    '\'it\'"\'"\'s $HOME \''
    """
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return shlex.quote("".join(char if char.isprintable() else " " for char in text))


def wrap(text: str, first: str = "# ", later: str = "#   ") -> list[str]:
    """Break a comment into lines of at most WIDTH characters."""
    return textwrap.wrap(
        text,
        width=WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


@dataclass(slots=True)
class Header:
    """The comment at the head of an emitted file.

    `not_expressible`: what the plan says and the framework cannot do, with the nearest that it
    can. `chosen`: what the framework asks for and the plan does not say.
    """

    title: str
    about: Sequence[str] = ()
    lost: list[str] = field(default_factory=list)
    picked: list[str] = field(default_factory=list)

    def not_expressible(self, what: str, nearest: str) -> None:
        """Note something of the plan that is not in the emitted file as the plan has it."""
        self.lost.append(f"Not expressible: {what}. Nearest: {nearest}.")

    def chosen(self, what: str) -> None:
        """Note a choice that the plan does not make."""
        self.picked.append(f"Not from the plan: {what}.")

    def lines(self) -> list[str]:
        """Return the comment lines."""
        out = wrap(self.title)
        for text in self.about:
            out += wrap(text)
        for notes in (self.lost, self.picked):
            if notes:
                out.append("#")
            for text in notes:
                out += wrap(text)
        return out
