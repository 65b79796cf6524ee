"""`python -m app`: the operator's verbs, which are in `app.verbs`."""

from app.verbs import verbs

if __name__ == "__main__":
    verbs(prog_name="python -m app")
