"""Text that others wrote, on a terminal."""


def printable(line: str) -> str:
    """A line without what a terminal would take for something else than text, as names may have it."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
