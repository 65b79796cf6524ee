"""What a person has to put right, told in a sentence."""


class SetupError(Exception):
    """Something outside this package is not as it must be.

    The message is one sentence for a person: what is wrong, and what to do. Commands print it and exit with 1.
    """

    def __init__(self, *lines: str) -> None:
        """Keep the sentence and the lines below it, each without control characters: names may contain them."""
        super().__init__("\n".join(map(printable, lines)))


def printable(line: str) -> str:
    """A line without what a terminal would take for something else than text, as names may have it."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
