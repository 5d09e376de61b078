-- Webhooks of tenants, and each delivery.

CREATE TABLE webhook (
    id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id),
    name text NOT NULL,
    form text NOT NULL CHECK (form IN ('standard', 'slack', 'teams')),
    host text NOT NULL,
    kinds text[] NOT NULL,
    sealed_url bytea NOT NULL,
    sealed_secret bytea,
    sealed_former bytea,
    former_until timestamptz,
    told bigint NOT NULL,
    registered_at timestamptz NOT NULL,
    removed_at timestamptz
);
CREATE INDEX webhook_of_tenant ON webhook (tenant_id) WHERE removed_at IS NULL;

CREATE TABLE webhook_delivery (
    id text PRIMARY KEY,
    webhook_id text NOT NULL REFERENCES webhook (id),
    position bigint NOT NULL,
    kind text NOT NULL,
    created_at timestamptz NOT NULL,
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    tried_at timestamptz,
    taken_at timestamptz,
    given_up_at timestamptz,
    answered bigint,
    problem text,
    UNIQUE (webhook_id, position)
);
CREATE INDEX webhook_delivery_due ON webhook_delivery (next_try_at) WHERE next_try_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook, webhook_delivery TO broker_app;
