"""How long each kind of record is kept, why, and what becomes of it then.

    config/retention.toml ─▶ loaded ─▶ tried every night (counted, nothing touched)
                                        └─ confirmed by a privacy officer ─▶ carried out every night

What must stay true: every table of the schema has its place in the schedule; a schedule is carried
out only after somebody saw what it would take and confirmed that very text; what proves an act with
a customer's data is never taken by a term while the customer is one (`kept`).
"""
