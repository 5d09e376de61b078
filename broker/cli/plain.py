"""Text that others sent, made harmless for a terminal.

A ticket's title may hold escape sequences that recolour, hide or rewrite what an admin reads before
approving, and signs that turn the direction of writing. All of these become visible escapes.
"""

from __future__ import annotations

import unicodedata

# Control, format (direction marks, zero width), surrogate, private use, line and paragraph ends.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def plain(value: object) -> str:
    r"""One line of what is there: nothing in it moves the cursor or hides.

    >>> print(plain("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _HIDDEN else char
        for char in str(value)
    )
