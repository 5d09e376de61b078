-- A live database or a test server is taken out of use once nothing of ours is there; nothing begins
-- on one that was. The row is locked, so who removes it and who asks for it wait for each other.

CREATE FUNCTION check_not_removed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone timestamptz;
BEGIN
    SELECT removed_at INTO gone FROM tenant_database WHERE id = NEW.database_id FOR KEY SHARE;
    IF gone IS NULL AND TG_TABLE_NAME = 'snapshot' THEN
        SELECT removed_at INTO gone FROM test_server WHERE id = NEW.server_id FOR KEY SHARE;
    END IF;
    IF gone IS NOT NULL THEN
        RAISE EXCEPTION 'what % is for was taken out of use at %', NEW.id, gone;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER not_removed BEFORE INSERT ON access_grant
    FOR EACH ROW EXECUTE FUNCTION check_not_removed();
CREATE TRIGGER not_removed BEFORE INSERT ON snapshot
    FOR EACH ROW EXECUTE FUNCTION check_not_removed();
CREATE TRIGGER not_removed BEFORE INSERT ON drill
    FOR EACH ROW EXECUTE FUNCTION check_not_removed();
CREATE TRIGGER not_removed BEFORE INSERT ON standing_approval
    FOR EACH ROW EXECUTE FUNCTION check_not_removed();
