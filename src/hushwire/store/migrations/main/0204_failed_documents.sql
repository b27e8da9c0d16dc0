-- A document that can't be built is tried again at growing distances, and in the end is told as failed: why stands in `failure`, as a code.
ALTER TABLE documents ADD COLUMN failures integer NOT NULL DEFAULT 0;   -- how often building it broke
ALTER TABLE documents ADD COLUMN failing_since timestamptz;             -- the first time
ALTER TABLE documents ADD COLUMN retry_at timestamptz;                  -- it is not tried again before

DROP INDEX documents_open;
CREATE INDEX documents_open ON documents (created_at) WHERE state IN ('queued', 'building', 'ready', 'failed');

GRANT SELECT (failure, retry_at) ON documents TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
DROP FUNCTION documents_to_build();
RESET ROLE;
CREATE FUNCTION documents_to_build(moment timestamptz) RETURNS TABLE (org_id uuid, document_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT d.org_id, d.id FROM public.documents AS d
   WHERE d.state IN ('queued', 'building') AND (d.retry_at IS NULL OR d.retry_at <= moment) ORDER BY d.created_at $$;
CALL hand_to_finder('documents_to_build(timestamptz)', 'hushwire_worker');

-- What is left of one that failed is erased like one whose time is over.
GRANT CREATE ON SCHEMA public TO hushwire_finder;
SET LOCAL ROLE hushwire_finder;
CREATE OR REPLACE FUNCTION documents_that_expired(moment timestamptz) RETURNS TABLE (org_id uuid, document_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT d.org_id, d.id FROM public.documents AS d WHERE d.state IN ('ready', 'failed') AND d.expires_at <= moment $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM hushwire_finder;

-- For the operator, in numbers alone: what is tried again, and what failed (is_over = 1) and was not asked for anew. `reason` is the place
-- of why among `reasons`; the last one stands for every other.
CREATE FUNCTION documents_in_trouble(moment timestamptz, reasons text[]) RETURNS TABLE (is_over bigint, reason bigint, documents bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT (d.state = 'failed')::integer::bigint, coalesce(array_position(reasons, d.failure), cardinality(reasons))::bigint, count(*)
   FROM public.documents AS d
   WHERE d.failure IS NOT NULL AND (d.state IN ('queued', 'building') OR (d.state = 'failed' AND d.expires_at > moment))
   GROUP BY 1, 2 ORDER BY 1 DESC, 2 $$;
CALL hand_to_finder('documents_in_trouble(timestamptz, text[])', 'hushwire_api');
