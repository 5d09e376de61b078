"""Text that others sent, made harmless for a terminal.

A ticket's title may hold escape sequences that recolour, hide or rewrite what an admin reads before
approving, and signs that turn the direction of writing. All of these become visible escapes.
"""

from __future__ import annotations


def plain(value: object) -> str:
    r"""One line of what is there: nothing in it moves the cursor or hides.

    >>> print(plain("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in str(value)
    )
