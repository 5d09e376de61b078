-- Pruning of the logs: entries go, their hashes stay in stored tiles. The application can't delete
-- entries; this function can, and refuses what is signed by no checkpoint, stands in no stored tile, or
-- is younger than half a year, whoever asks.

ALTER TABLE audit_log ADD COLUMN pruned_until bigint NOT NULL DEFAULT 0 CHECK (pruned_until >= 0);

CREATE FUNCTION prune_log(of_log text, until bigint, of_kinds text[], before timestamptz)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    IF before > clock_timestamp() - interval '180 days' THEN
        RAISE EXCEPTION 'entries of a log are kept for 180 days at least';
    END IF;
    WITH old AS (
        SELECT e.id FROM audit_entry e
          JOIN audit_log l ON l.id = e.log_id
          JOIN audit_tile t ON t.log_id = e.log_id AND t.level = 0 AND t.number = e.idx / 256
         WHERE e.log_id = of_log AND e.idx >= l.pruned_until AND e.idx < until
           AND e.idx < (SELECT max(c.size) FROM audit_checkpoint c WHERE c.log_id = of_log)
           AND (convert_from(e.entry, 'UTF8')::json ->> 'kind') = ANY (of_kinds)
           AND (convert_from(e.entry, 'UTF8')::json ->> 'at')::timestamptz < before
    ), opened AS (
        DELETE FROM audit_opening o USING old WHERE o.entry_id = old.id
    ), pruned AS (
        DELETE FROM audit_entry e USING old WHERE e.id = old.id RETURNING e.id
    )
    SELECT count(*) INTO gone FROM pruned;
    UPDATE audit_log SET pruned_until = greatest(pruned_until, until) WHERE id = of_log;
    RETURN gone;
END $$;
REVOKE ALL ON FUNCTION prune_log FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_log TO broker_app;
