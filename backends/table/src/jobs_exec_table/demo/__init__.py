"""The demonstration behind ``jobs-exec demo``: real jobs of many orgs over real HTTP from a real Postgres.

`scenario` says who queues what and what must come of it, `receiver` is the process that is delivered to, `journey`
runs everything, `counting` counts three times over (receipts, SQL, receiver) and `verdict` compares, `report` shows.
"""
