"""The guide's "Troubleshooting" as answers: `python -m app doctor`.

`examination` looks at the database in one read-only transaction, rolls it back, and judges what it saw. Its parts:

- `role`: the role of the connection.
- `warnings`: what preflight warned of and still holds.
- `identity`: whether the column that holds the token's sub is there and unique.
- `powers`: what a person can do with each table.
- `visibility`: why a person sees a chatbot or not.
- `health`: rows that belong to nothing, and indexes.
- `report`: all of it in lines for a person.
"""
