"""The mutants that no test can catch, because they change nothing that anybody could see."""

# By a pattern (as re.fullmatch takes it) of their names, the reason.
EQUIVALENT = {
    r"policy chatbots Admin users can update .*: WITH CHECK true for .*is_admin.*": (
        "USING has asked the same in the same statement"
    ),
    r"policy chatbots Admin users can create .*: for all": (
        "the other three policies let admins see, change and delete as much, and more"
    ),
    r"policy (conversations|feedback) .*: for all": (
        "each of the four commands has a policy with the same condition for the same people"
    ),
    r"function require_table_owner\(\): true for contype = 'f'": "no constraint but a foreign key has an action",
}
