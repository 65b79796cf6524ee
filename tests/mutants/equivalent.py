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
    r"function (chatbot_usage|tenant_admins)\(\): true for \(?"
    r"(scope\.every_tenant|(scope\.every_tenant OR )?(conversation|person)\.tenant_id = scope\.tenant_id)\)?": (
        "what is not of the tenant is left out by what it is joined to; without this, it would be read"
    ),
    r"function chatbot_usage\(\): true for conversation\.chatbot_id IS NOT NULL": (
        "no chatbot is joined to what has none; with this, the partial index serves"
    ),
    r"function (chatbot_usage|popular_chatbots)\(\): true for (used|chatbot)\.tenant_id = \w+\.tenant_id": (
        "a conversation's chatbot is of its tenant, as the foreign key sees to"
    ),
    r"trigger (conversations_record_version_insert|conversations_record_version_update|users_audit_update):"
    r" (without WHEN|WHEN true for .*)": "where there is nothing to record, it records nothing",
    r"trigger conversations_record_version_insert: WHEN without .*": "the same: what stands there is true",
    r"function (record_version|audit_row)\(\): true for TG_OP = 'UPDATE'": "of an INSERT, all that is old is NULL",
    r"function record_version\(\): false for NEW\.chatbot_id IS NULL": "no chatbot has no version",
    r"function (record_version|forget_author|keep_tags|public\.restore_chatbot)\(\):"
    r" true for (old\.)?tenant_id = (NEW|its)\.tenant_id": "a chatbot's id is that of no other tenant's",
    r"function keep_version\(\): true for (TG_OP = 'UPDATE'|OLD\.version = 1)": (
        "an INSERT has no old version, and a first version that is there is left as it is"
    ),
    r"trigger chatbots_(keep_tags|normalise_labels)_(insert|update): (without WHEN|WHEN true for .*)": (
        "where there is no tag, there is no row to keep; what is normalised stays as it is"
    ),
    r"function keep_tags\(\): true for (TG_OP = 'UPDATE'|tag <> ALL \(NEW\.tags\)|its\.\w+ <> EXCLUDED\.\w+)": (
        "rows are written again as they were; a chatbot that is created has none to delete"
    ),
    r"trigger chatbots_require_tools_(insert: without WHEN|update: WHEN true for \(new\.settings \? 'tools'::text\))": (
        "tools that are not there have no fault"
    ),
    r"function tools_fault\(\): true for (depth <= 64|jsonb_typeof\(value -> 'parameters'\) = 'object')": (
        "what is found further down comes after the fault that is told"
    ),
    r"function require_table_owner\(\): true for contype = 'f'": "no constraint but a foreign key has an action",
}
