"""Try every mutant, and tell which survives: see tests.mutants."""

import argparse
import re
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests import mutants
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.trial import SHAPES, Verdict, try_mutants


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=mutants.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--only", default="", metavar="PATTERN", help="a regular expression found in their names")
    arguments.add_argument("--shape", default="plain", choices=SHAPES, help="the shape of database they are made of")
    arguments.add_argument("--jobs", type=int, default=2, help="so many at a time")
    arguments.add_argument("--postgres-binaries", type=Path, default=None, metavar="DIRECTORY")
    given = arguments.parse_args()
    with ProcessPoolExecutor(given.jobs) as pool:
        parts = [
            pool.submit(try_mutants, given.shape, given.only, part, given.jobs, given.postgres_binaries, tell)
            for part in range(given.jobs)
        ]
        verdicts = [verdict for part in parts for verdict in part.result()]
    sys.exit(summary(verdicts, everything=not given.only and given.shape == "plain"))


def tell(verdict: Verdict) -> None:
    what = (
        f"caught by {verdict.caught_by}"
        if verdict.caught_by
        else "survived" + f" ({verdict.broke})" * bool(verdict.broke)
    )
    print(f"{verdict.mutant}: {what}", flush=True)


def summary(verdicts: list[Verdict], *, everything: bool) -> int:
    """Tell how many of each kind were caught, who survived and why; the exit status."""
    print("\nOf each kind, tried and caught:")
    tried = Counter(verdict.mutant.split()[0] for verdict in verdicts)
    caught = Counter(verdict.mutant.split()[0] for verdict in verdicts if verdict.caught_by)
    for kind in tried:
        print(f"  {kind}: {tried[kind]}, {caught[kind]}")
    print(f"  in all: {tried.total()}, {caught.total()}")
    stale, wrong = dict(EQUIVALENT), 0
    for verdict in verdicts:
        listed = [pattern for pattern in EQUIVALENT if re.fullmatch(pattern, verdict.mutant)]
        for pattern in listed:
            stale.pop(pattern, None)
        if not verdict.caught_by:
            print(f"Survived: {verdict.mutant}: {EQUIVALENT[listed[0]] if listed else 'AND SHOULD NOT'}")
        elif listed:
            print(f"Listed as changing nothing, and caught: {verdict.mutant}")
        wrong += bool(listed) == bool(verdict.caught_by)
    if everything:
        for pattern in stale:
            print(f"Listed as changing nothing, and there is no such mutant: {pattern}")
        wrong += len(stale)
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
