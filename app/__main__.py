"""`python -m app`: the operator's verbs, which are in `app.verbs`."""

import io
import sys

from app.verbs import verbs

if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # what a terminal's encoding does not have, is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    verbs(prog_name="python -m app")
