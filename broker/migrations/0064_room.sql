-- Room for copies: what a test server holds, what a customer may have at once, what each copy needs.
-- No number is no limit.

ALTER TABLE test_server ADD COLUMN capacity_bytes bigint CHECK (capacity_bytes > 0);
ALTER TABLE tenant ADD COLUMN copies_bytes bigint CHECK (copies_bytes > 0);
ALTER TABLE snapshot ADD COLUMN needed_bytes bigint NOT NULL DEFAULT 0;
GRANT UPDATE (copies_bytes) ON tenant TO broker_app;
