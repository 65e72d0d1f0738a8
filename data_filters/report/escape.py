"""Text that models wrote, made safe to stand in a page."""

import html
import re

# what XML 1.0 does not allow
UNPRINTABLE = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def plain(value: object) -> str:
    """Gives any text as harmless HTML: markup escaped, characters that no document may hold
    replaced.
    """
    return html.escape(UNPRINTABLE.sub("?", str(value)))
