"""`python -m app`: the operator's verbs, which are in `app.verbs`."""

import io
import sys

from app.terminal import output_errors_as_sentences

if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # what a terminal's encoding does not have, is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    with output_errors_as_sentences():
        from app.verbs import verbs  # takes a second, in which somebody may interrupt it

        verbs(prog_name="python -m app")
