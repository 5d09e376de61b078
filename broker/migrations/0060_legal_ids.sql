-- Who a customer is in law: its SIREN or VAT number. Those enrolled before have none until it is told.

ALTER TABLE tenant ADD COLUMN legal_id text CHECK (legal_id ~ '^(siren:[0-9]{9}|vat:[A-Z]{2}[0-9A-Z]{2,13})$');
GRANT UPDATE (legal_id) ON tenant TO broker_app;
