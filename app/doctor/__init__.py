"""The guide's "Troubleshooting" as answers: `python -m app doctor`.

`examination` looks, in one read-only transaction that is rolled back, and judges; `asking` asks the database as
somebody, for a limited time; `powers` says what a person can do with each table, `visibility` why somebody sees a
chatbot or not, `health` what is orphaned and how indexes do; `report` tells it to a person.
"""
