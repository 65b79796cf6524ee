"""The mutants that no test can catch, because they change nothing that anybody could see."""

# By a pattern (as re.fullmatch takes it) of their names, the reason.
EQUIVALENT: dict[str, str] = {}
