"""Words of strangers, made fit for logs and terminals."""

__all__ = ["printable"]


def printable(text: str, most: int) -> str:
    """Return the beginning of a text that another node or a server has said, with escapes for what would
    control a terminal.

    Args:
        text: what was said.
        most: characters of it, at most.
    """
    text = text[:most]
    return text if text.isprintable() else ascii(text)[1:-1]
