"""Names and messages as a terminal may show them."""

from __future__ import annotations


def printable(text: object, *, keep: str = "") -> str:
    """The text with every character that is not to be seen written as an escape, on one line.

    A file's name may hold any byte: escape sequences that colour, move or retitle a terminal,
    line ends that forge a message, marks that turn the direction of writing, and bytes that
    are no text, which cannot even be printed.

    Args:
        text: whose str() is shown.
        keep: characters that stay as they are all the same.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )
