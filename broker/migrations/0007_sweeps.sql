-- A sweep reads what lives, however much has ended.

CREATE INDEX access_grant_approved ON access_grant (id) WHERE state = 'approved';
CREATE INDEX access_grant_unplanned ON access_grant (next_try_at)
    WHERE state = 'requested' AND asked_digest IS NULL;
CREATE INDEX access_grant_cause ON access_grant (ticket_id, requester_id)
    WHERE state IN ('requested', 'approved');
CREATE INDEX ticket_not_ended ON ticket (id) WHERE ended_at IS NULL;
CREATE INDEX person_not_disabled ON person (id) WHERE disabled_at IS NULL;
CREATE INDEX snapshot_alive_under ON snapshot (grant_id)
    WHERE state IN ('ordered', 'copying', 'ready');
CREATE INDEX lease_alive_under ON lease (grant_id) WHERE state IN ('pending', 'issued');
CREATE INDEX lease_due ON lease (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX lease_of_snapshot ON lease (snapshot_id)
    WHERE state IN ('pending', 'issued', 'revoking');
CREATE INDEX access_grant_waiting ON access_grant (lapses_at) WHERE state = 'requested';
