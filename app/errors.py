"""What a person has to put right, told in a sentence."""


class SetupError(Exception):
    """Something outside this package is not as it must be.

    The message is one sentence for a person: what is wrong, and what to do. Commands print it and exit with 1.
    """
