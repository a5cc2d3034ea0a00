-- Who is a member of what, and what he is there --------------------------------------------------------------------

-- Of an organization: then what it says holds in all its projects. Or of one project alone.
CREATE TABLE membership (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id          uuid NOT NULL REFERENCES user_account,
    organization_id  uuid REFERENCES organization,
    project_id       uuid REFERENCES project,
    roles            text[] NOT NULL CHECK (cardinality(roles) > 0),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT membership_is_of_one CHECK (num_nonnulls(organization_id, project_id) = 1),
    -- An organization has owners; a project belongs to its organization.
    CONSTRAINT membership_roles CHECK (roles <@ CASE WHEN organization_id IS NULL
                                                     THEN '{admin,collaborator,viewer}'::text[]
                                                     ELSE '{owner,admin,collaborator,viewer}' END)
);
CREATE UNIQUE INDEX membership_once ON membership (user_id, coalesce(organization_id, project_id));
CREATE INDEX membership_by_organization ON membership (organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX membership_by_project ON membership (project_id) WHERE project_id IS NOT NULL;

-- Until now whoever was of an organization could do everything in it.
INSERT INTO membership (user_id, organization_id, roles, created_at, updated_at)
SELECT id, organization_id, '{owner}', created_at, created_at FROM user_account;

-- A membership that is offered to whoever has the address. It goes away when it is accepted or declined.
CREATE TABLE invitation (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id  uuid REFERENCES organization,
    project_id       uuid REFERENCES project,
    email            text NOT NULL,
    roles            text[] NOT NULL CHECK (cardinality(roles) > 0),
    -- Projects of the organization: the invited becomes a member of these, and not of the organization.
    project_ids      uuid[] NOT NULL DEFAULT '{}',
    message          text NOT NULL DEFAULT '',
    invited_by       uuid REFERENCES user_account,
    created_at       timestamptz NOT NULL,
    CONSTRAINT invitation_is_to_one CHECK (num_nonnulls(organization_id, project_id) = 1)
);
CREATE UNIQUE INDEX invitation_once ON invitation (lower(email), coalesce(organization_id, project_id));
CREATE INDEX invitation_by_organization ON invitation (organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX invitation_by_project ON invitation (project_id) WHERE project_id IS NOT NULL;

-- `organization_id` is the one that a new project of the user's belongs to when he names none.
ALTER TABLE user_account
    ADD COLUMN staff_role text CHECK (staff_role IN ('operator', 'support', 'facility')),
    ADD COLUMN disabled_at timestamptz;
UPDATE user_account SET staff_role = 'operator' WHERE staff;
ALTER TABLE user_account DROP COLUMN staff;

ALTER TABLE organization
    ADD COLUMN description text,
    ADD COLUMN customdata jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN updated_at timestamptz,
    ADD COLUMN deleted_at timestamptz;
UPDATE organization SET updated_at = created_at;
ALTER TABLE organization ALTER COLUMN updated_at SET NOT NULL, ALTER COLUMN updated_at SET DEFAULT now();

CREATE INDEX api_token_by_user ON api_token (user_id, created_at) WHERE user_id IS NOT NULL;
CREATE INDEX api_token_by_project ON api_token (project_id, created_at) WHERE project_id IS NOT NULL;

-- How much an organization, or one project, may have; NULL is without a limit.
CREATE TABLE quota (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id  uuid REFERENCES organization,
    project_id       uuid REFERENCES project,
    devices          int CHECK (devices >= 0),
    elastic_ipv4     bigint CHECK (elastic_ipv4 >= 0),  -- addresses
    elastic_ipv6     bigint CHECK (elastic_ipv6 >= 0),  -- networks of 64 bits
    projects         int CHECK (projects >= 0),
    members          int CHECK (members >= 0),
    CONSTRAINT quota_is_of_one CHECK (num_nonnulls(organization_id, project_id) = 1),
    CONSTRAINT quota_of_project CHECK (project_id IS NULL OR projects IS NULL)
);
CREATE UNIQUE INDEX quota_once ON quota (coalesce(organization_id, project_id));

-- The users whom somebody sees who sees these organizations ($1) and projects ($2): all that are members there.
CREATE FUNCTION members_seen(uuid[], uuid[]) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    SELECT user_id FROM membership WHERE organization_id = ANY($1)
    UNION
    SELECT user_id FROM membership WHERE project_id = ANY($2)
    UNION
    SELECT m.user_id FROM project AS p JOIN membership AS m ON m.project_id = p.id WHERE p.organization_id = ANY($1)
    UNION
    SELECT m.user_id FROM project AS p JOIN membership AS m ON m.organization_id = p.organization_id WHERE p.id = ANY($2)
$$;

-- The claims on prefixes that a user ($1) can call upon who may act for organizations ($3) and single projects ($2).
-- What is a project's is also its organization's; what is an organization's is not that of one of its projects.
DROP FUNCTION prefix_claims_of(uuid, uuid, uuid);
CREATE FUNCTION prefix_claims_of(uuid, uuid[], uuid[]) RETURNS SETOF prefix_claim LANGUAGE sql STABLE AS $$
    SELECT * FROM prefix_claim WHERE user_id = $1
    UNION ALL
    SELECT * FROM prefix_claim WHERE organization_id = ANY($3)
    UNION ALL
    SELECT claim.* FROM project JOIN prefix_claim AS claim ON claim.project_id = project.id
    WHERE (project.organization_id = ANY($3) OR project.id = ANY($2)) AND project.deleted_at IS NULL
$$;
