-- Which host links a device was ordered with, and a project's wish for private traffic between facilities.
ALTER TABLE device ADD COLUMN links text[] NOT NULL DEFAULT '{public,private,ipv6}'
    CONSTRAINT device_links CHECK (links <@ ARRAY['public', 'private', 'ipv6'] AND links @> ARRAY['private']);
ALTER TABLE project ADD COLUMN backend_transfer boolean NOT NULL DEFAULT false;
