"""`python -m app`: the operator's verbs, which are in `app.verbs`."""

import io
import sys

from app.terminal import errors_end_the_command

if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # what a terminal's encoding does not have, is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    with errors_end_the_command():
        from app.verbs import verbs  # takes a second, in which somebody may interrupt it

        verbs(prog_name="python -m app")
