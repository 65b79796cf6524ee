"""Check chatbots.settings.tools: the functions that a chatbot's model may call.

What: settings.tools is an array of function definitions: name, description, and parameters, a JSON Schema (2020-12) of
type object. Who saves settings with others is refused, and told the place of the first fault. A chatbot from before
stays as it is until its settings are changed.
Locks: SHARE ROW EXCLUSIVE on chatbots for milliseconds (triggers).
Downgrade: loses nothing. ACCESS EXCLUSIVE on chatbots for milliseconds.
"""

from alembic import op

revision = "015"
down_revision = "014"
branch_labels = None
depends_on = None

SETTINGS = "Further parameters, a JSON object"  # the comment of 007


def upgrade() -> None:
    create_functions()
    # AFTER, because a later BEFORE trigger could put others in their place. Publishing and the like ask for nothing.
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_require_tools_insert AFTER INSERT ON public.chatbots
        FOR EACH ROW WHEN (NEW.settings ? 'tools')
        EXECUTE FUNCTION chatbot_private.require_tools()
    """)
    op.execute("""
        CREATE OR REPLACE TRIGGER chatbots_require_tools_update AFTER UPDATE ON public.chatbots
        FOR EACH ROW WHEN (NEW.settings ? 'tools' AND OLD.settings IS DISTINCT FROM NEW.settings)
        EXECUTE FUNCTION chatbot_private.require_tools()
    """)
    op.execute(f"COMMENT ON COLUMN public.chatbots.settings IS '{SETTINGS}; tools in it are functions for the model'")


def downgrade() -> None:
    op.execute(f"COMMENT ON COLUMN public.chatbots.settings IS '{SETTINGS}'")
    op.execute("DROP TRIGGER IF EXISTS chatbots_require_tools_update ON public.chatbots")
    op.execute("DROP TRIGGER IF EXISTS chatbots_require_tools_insert ON public.chatbots")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.require_tools()")
    op.execute("DROP FUNCTION IF EXISTS chatbot_private.tools_fault(jsonb)")


def create_functions() -> None:
    # Its estimate is high: where there is a JIT compiler, each save would wait a second for it.
    op.execute(f"""
        CREATE OR REPLACE FUNCTION chatbot_private.tools_fault(tools jsonb) RETURNS text
        LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET jit = off
        SET standard_conforming_strings = on
        AS $$
        BEGIN
            RETURN ({fault_of("tools_fault.tools")});
        END
        $$
    """)
    # As the owner, so that who saves a chatbot needs no right to the other function.
    op.execute("""
        CREATE OR REPLACE FUNCTION chatbot_private.require_tools() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            fault text := chatbot_private.tools_fault(NEW.settings -> 'tools');
        BEGIN
            IF fault IS NOT NULL THEN
                RAISE EXCEPTION '%', fault USING
                    ERRCODE = 'check_violation',
                    HINT = 'A tool has name, description and parameters, a JSON Schema of type object.';
            END IF;
            RETURN NULL;
        END
        $$
    """)
    for function, comment in {
        "tools_fault(jsonb)": "The first fault of function definitions: where it is, and what; NULL without one",
        "require_tools()": "Trigger: refuses settings whose tools are no function definitions",
    }.items():
        op.execute(f"COMMENT ON FUNCTION chatbot_private.{function} IS '{comment}'")
        op.execute(f"""
            REVOKE ALL ON FUNCTION chatbot_private.{function} FROM PUBLIC, anon, authenticated, service_role
        """)


# What each keyword of JSON Schema takes. Others may be there, and take anything.
KEYWORDS = {
    "a string": "title description pattern format contentEncoding contentMediaType $id $schema $ref $anchor $comment",
    "a type of JSON, or an array of them": "type",
    "a number": "minimum maximum exclusiveMinimum exclusiveMaximum",
    "a number above 0": "multipleOf",
    "a whole number from 0 on": (
        "minLength maxLength minItems maxItems minProperties maxProperties minContains maxContains"
    ),
    "true or false": "uniqueItems deprecated readOnly writeOnly",
    "an array": "examples",
    "an array of something": "enum",
    "an array of strings, none twice": "required",
    "a schema": (
        "items additionalProperties contains propertyNames not if then else unevaluatedItems unevaluatedProperties"
        " contentSchema"
    ),
    "an array of schemas": "allOf anyOf oneOf prefixItems",
    "an object of schemas": "properties patternProperties dependentSchemas $defs definitions",
}


def fault_of(tools: str) -> str:
    # A query for the first fault, if there is one. Schemas within schemas are looked at to 64 deep, and places are told
    # to 300 letters, so that the work grows with the size of the tools and no faster.
    takes = ", ".join(f"('{name}', '{what}')" for what, names in KEYWORDS.items() for name in names.split())
    return FAULT.replace("TAKES", takes).replace("TOOLS", tools).replace("MOST", str(MOST))


MOST = 128  # tools

FAULT = r"""
    WITH RECURSIVE given (listed) AS (
        SELECT TOOLS
    ), keyword (name, takes) AS (
        VALUES TAKES
    ), tool (n, place, value, is_object) AS (
        SELECT n, format('settings.tools[%s]', n - 1), value, jsonb_typeof(value) = 'object'
        FROM given, jsonb_array_elements(CASE jsonb_typeof(listed) WHEN 'array' THEN listed ELSE '[]' END)
            WITH ORDINALITY AS its (value, n)
        WHERE n <= MOST
    ), schema (n, depth, place, value) AS (
        SELECT n, 1, place || '.parameters', value -> 'parameters' FROM tool
        WHERE jsonb_typeof(value -> 'parameters') = 'object'
        UNION ALL
        SELECT n, depth + 1, within.place, within.value
        FROM schema
        CROSS JOIN jsonb_each(CASE jsonb_typeof(schema.value) WHEN 'object' THEN schema.value ELSE '{}' END) AS entry
        JOIN keyword ON name = key
        CROSS JOIN LATERAL (
            SELECT left(format('%s.%s', schema.place, key), 300), entry.value WHERE takes = 'a schema'
            UNION ALL
            SELECT left(format('%s.%s[%s]', schema.place, key, its.n - 1), 300), its.value
            FROM jsonb_array_elements(CASE jsonb_typeof(entry.value) WHEN 'array' THEN entry.value ELSE '[]' END)
                WITH ORDINALITY AS its (value, n)
            WHERE takes = 'an array of schemas'
            UNION ALL
            SELECT left(format('%s.%s.%s', schema.place, entry.key, left(its.key, 300)), 300), its.value
            FROM jsonb_each(CASE jsonb_typeof(entry.value) WHEN 'object' THEN entry.value ELSE '{}' END) AS its
            WHERE takes = 'an object of schemas'
        ) AS within (place, value)
        WHERE depth <= 64
    ), entry (n, depth, place, takes, value, kind, items, different, strings, types) AS (
        SELECT n, depth, format('%s.%s', place, key), takes, entry.value, jsonb_typeof(entry.value), its.*
        FROM schema
        CROSS JOIN jsonb_each(CASE jsonb_typeof(schema.value) WHEN 'object' THEN schema.value ELSE '{}' END) AS entry
        JOIN keyword ON name = key
        CROSS JOIN LATERAL (
            SELECT count(*), count(DISTINCT item),
                count(*) FILTER (WHERE jsonb_typeof(item) = 'string'),
                count(*) FILTER (WHERE item IN (
                    '"string"', '"number"', '"integer"', '"boolean"', '"object"', '"array"', '"null"'
                ))
            FROM jsonb_array_elements(
                CASE jsonb_typeof(entry.value) WHEN 'array' THEN entry.value ELSE jsonb_build_array(entry.value) END
            ) AS item
            WHERE takes IN ('a type of JSON, or an array of them', 'an array of strings, none twice')
        ) AS its
    ), fault (n, depth, place, fault, value) AS (
        SELECT 0, 0, 'settings.tools', 'must be an array', listed FROM given WHERE jsonb_typeof(listed) <> 'array'
        UNION ALL
        SELECT 0, 0, 'settings.tools', 'may be MOST at most', NULL FROM given
        WHERE CASE jsonb_typeof(listed) WHEN 'array' THEN jsonb_array_length(listed) END > MOST
        UNION ALL
        SELECT n, 0, place, 'must be an object', value FROM tool WHERE NOT is_object
        UNION ALL
        SELECT n, 0, format('%s.%s', place, left(key, 300)), 'is not known here', its.value
        FROM tool, jsonb_each(CASE WHEN is_object THEN value ELSE '{}' END) AS its (key, value)
        WHERE key NOT IN ('name', 'description', 'parameters')
        UNION ALL
        SELECT n, 0, place || '.name', 'must be 1 to 64 letters, digits, _ and -', value -> 'name' FROM tool
        WHERE (jsonb_typeof(value -> 'name') = 'string' AND value ->> 'name' ~ '^[A-Za-z0-9_-]{1,64}$') IS NOT TRUE
        UNION ALL
        SELECT n, 0, place || '.name', 'must not be that of a tool before', name
        FROM (
            SELECT n, place, value -> 'name' AS name, row_number() OVER (PARTITION BY value -> 'name' ORDER BY n) AS nth
            FROM tool
        ) AS named WHERE nth > 1 AND name IS NOT NULL
        UNION ALL
        SELECT n, 0, place || '.description', 'must be a string that says when to call it', value -> 'description'
        FROM tool
        WHERE (jsonb_typeof(value -> 'description') = 'string' AND value ->> 'description' ~ '\S') IS NOT TRUE
        UNION ALL
        SELECT n, 0, place || '.parameters', 'must be a schema of type object', value -> 'parameters' FROM tool
        WHERE value #> '{parameters,type}' IS DISTINCT FROM '"object"'
        UNION ALL
        SELECT n, depth, place, 'must be a schema (an object, true or false)', value FROM schema
        WHERE jsonb_typeof(value) NOT IN ('object', 'boolean')
        UNION ALL
        SELECT n, depth, place, 'is nested too deep', NULL FROM schema WHERE depth > 64
        UNION ALL
        SELECT n, depth, place, 'must be ' || takes, value FROM entry
        WHERE NOT CASE takes
            WHEN 'a string' THEN kind = 'string'
            WHEN 'a type of JSON, or an array of them' THEN items > 0 AND different = items AND types = items
            WHEN 'a number' THEN kind = 'number'
            WHEN 'a number above 0' THEN kind = 'number' AND value > '0'
            WHEN 'a whole number from 0 on' THEN value::text ~ '^\d+(\.0+)?$'
            WHEN 'true or false' THEN kind = 'boolean'
            WHEN 'an array' THEN kind = 'array'
            WHEN 'an array of something' THEN kind = 'array' AND value <> '[]'
            WHEN 'an array of strings, none twice' THEN kind = 'array' AND different = items AND strings = items
            WHEN 'a schema' THEN true
            WHEN 'an array of schemas' THEN kind = 'array' AND value <> '[]'
            WHEN 'an object of schemas' THEN kind = 'object'
        END
    )
    SELECT format('%s %s', left(place, 300), fault) || CASE
        WHEN fault !~ '^must be' THEN ''
        WHEN value IS NULL THEN ', and is missing'
        WHEN length(value::text) <= 60 THEN ', not ' || value::text
        ELSE ', not ' || left(value::text, 57) || '...'
    END
    FROM fault ORDER BY n, depth, fault ~ '^must', place LIMIT 1
"""

# Chatbots whose tools are of another shape: what stays, and is refused when it is saved again.
# Before 007 takes chatbots over. From then on theirs are like all others from before this revision.
ROW_OBSTACLES = f"""
    SELECT format('%s settings.tools that are no function definitions; the first is %s',
            CASE count(*) WHEN 1 THEN '1 chatbot has' ELSE count(*) || ' chatbots have' END,
            min(format('%s: %s', id, fault))),
        'change these, or give the key another name: SELECT id, name, settings -> ''tools'' FROM public.chatbots'
        ' WHERE settings ? ''tools'''
    FROM public.chatbots, LATERAL ({fault_of("chatbots.settings -> 'tools'")}) AS its (fault)
    WHERE jsonb_typeof(settings) = 'object' AND settings ? 'tools' AND fault IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = 'public.chatbots'::regclass AND tgfoid = to_regproc('chatbot_private.touch_updated_at')
    )
    HAVING count(*) > 0
"""

WARNINGS = f"""
    SELECT format('%s tools of another shape, which stay until their settings are saved again: bring them'
        ' into shape, or give the key another name. The first is %s',
        CASE count(*) WHEN 1 THEN '1 chatbot has' ELSE count(*) || ' chatbots have' END,
        min(format('%s: %s', id, fault)))
    FROM public.chatbots, LATERAL ({fault_of("chatbots.settings -> 'tools'")}) AS its (fault)
    WHERE settings ? 'tools' AND fault IS NOT NULL
    HAVING count(*) > 0
"""
