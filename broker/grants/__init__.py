"""Permissions of a tenant, and the credentials issued under them.

`policy` and `plan` say what becomes of each column, `narrowing` how a decision makes that less;
these are rules without I/O. `requests` asks and decides, `leases` issues and revokes, `queries`
gives frozen views to the outer layers.
"""
