"""What a person has to put right, told in a sentence."""

from app.terminal import printable


class SetupError(Exception):
    """Something outside this package is not as it must be.

    The message is one sentence for a person: what is wrong, and what to do. Commands print it and exit with 1.
    """

    def __init__(self, *lines: str) -> None:
        """Keep the sentence and the lines below it, each without control characters: names may contain them."""
        super().__init__("\n".join(map(printable, lines)))
