-- Who may do what on which node of the tree ---------------------------------------------------------------------

-- An enum, because its values have an order: who may do the later may do the earlier.
CREATE TYPE prefix_right AS ENUM ('view', 'assign', 'manage');

-- A grant holds for its node and all below. A revoked one stays: the table is its own history.
CREATE TABLE prefix_grant (
    id               uuid PRIMARY KEY,
    prefix_id        bigint NOT NULL REFERENCES prefix,
    "right"          prefix_right NOT NULL,
    organization_id  uuid REFERENCES organization,
    project_id       uuid REFERENCES project,
    user_id          uuid REFERENCES user_account,
    granted_by       text NOT NULL,
    granted_at       timestamptz NOT NULL,
    revoked_by       text,
    revoked_at       timestamptz,
    CONSTRAINT prefix_grant_names_one CHECK (num_nonnulls(organization_id, project_id, user_id) = 1),
    CONSTRAINT prefix_grant_revoked CHECK (num_nonnulls(revoked_by, revoked_at) IN (0, 2) AND revoked_at >= granted_at)
);
CREATE UNIQUE INDEX prefix_grant_once
    ON prefix_grant (prefix_id, "right", coalesce(organization_id, project_id, user_id)) WHERE revoked_at IS NULL;
CREATE INDEX prefix_grant_by_prefix ON prefix_grant (prefix_id, granted_at);
CREATE INDEX prefix_grant_by_organization ON prefix_grant (organization_id) WHERE revoked_at IS NULL;
CREATE INDEX prefix_grant_by_project ON prefix_grant (project_id) WHERE revoked_at IS NULL;
CREATE INDEX prefix_grant_by_user ON prefix_grant (user_id) WHERE revoked_at IS NULL;

CREATE INDEX prefix_by_organization ON prefix (organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX prefix_by_project ON prefix (project_id) WHERE project_id IS NOT NULL;

-- All that gives somebody a right on a node: an open grant, or being its owner.
CREATE VIEW prefix_claim AS
SELECT prefix_id, "right", organization_id, project_id, user_id, id AS grant_id, granted_by, granted_at
FROM prefix_grant WHERE revoked_at IS NULL
UNION ALL
SELECT id, 'manage', organization_id, NULL, NULL, NULL, NULL, NULL FROM prefix WHERE organization_id IS NOT NULL
UNION ALL
SELECT id, 'manage', NULL, project_id, NULL, NULL, NULL, NULL FROM prefix WHERE project_id IS NOT NULL;

-- The claims that a user ($1, of organization $3) can call upon, an organization ($3) or one project ($2). What is a
-- project's is also its organization's; what is an organization's is not that of a token of one project.
CREATE FUNCTION prefix_claims_of(uuid, uuid, uuid) RETURNS SETOF prefix_claim LANGUAGE sql STABLE AS $$
    SELECT * FROM prefix_claim WHERE user_id = $1
    UNION ALL
    SELECT * FROM prefix_claim WHERE organization_id = $3 AND $2 IS NULL
    UNION ALL
    SELECT claim.* FROM project JOIN prefix_claim AS claim ON claim.project_id = project.id
    WHERE project.organization_id = $3 AND project.deleted_at IS NULL AND ($2 IS NULL OR project.id = $2)
$$;
