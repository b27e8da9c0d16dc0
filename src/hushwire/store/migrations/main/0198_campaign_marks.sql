-- What is of a campaign is marked where the campaign is set up, not only by whoever sends: a template, a number that campaigns come from
-- (as agents that do telemarketing are, since 0080). What is sent by one of these is marketing, whatever the request says.
ALTER TABLE message_templates ADD COLUMN is_marketing boolean NOT NULL DEFAULT false;
ALTER TABLE message_numbers ADD COLUMN is_marketing boolean NOT NULL DEFAULT false;
GRANT SELECT (org_id, remote_index, about, withdrawn_at, erased_at) ON consents TO hushwire_gateway;
