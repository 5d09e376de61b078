"""What the law asks to be written down: processing (GDPR 30), breaches (33, 34), a notice (13).

Processing and notice are made from what the broker runs by: the purposes, the retention schedule
and the register of recipients as they are in the database. What must stay true: they say nothing
that is not configured, and leave out nothing that is.
"""
