-- Logins on tenants' servers are looked for between the daily looks too.

ALTER TABLE preflight ADD COLUMN logins_asked_at timestamptz;
