"""PostgreSQL 15 to 18. One file per job: connecting, catalogue, scopes, leases, masks, copying."""
