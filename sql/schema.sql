-- Made from the migrations by `make docs`; do not edit.

CREATE TABLE public.tenure (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    vrf_id integer NOT NULL,
    prefix_id bigint NOT NULL,
    block cidr NOT NULL,
    owner uuid NOT NULL,
    slot text NOT NULL,
    note jsonb DEFAULT '{}'::jsonb NOT NULL,
    during tstzrange NOT NULL,
    kind text DEFAULT 'held'::text NOT NULL,
    project_id uuid,
    within uuid,
    opened_by text DEFAULT 'unknown'::text NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    closed_by text,
    closed_at timestamp with time zone,
    corrected_at timestamp with time zone,
    corrected_by text,
    corrected_as uuid,
    correction text,
    prefix_cidr cidr NOT NULL,
    plane bigint GENERATED ALWAYS AS ((((vrf_id)::bigint * 2) + ((kind <> 'held'::text))::integer)) STORED,
    CONSTRAINT tenure_corrected CHECK ((num_nonnulls(corrected_at, corrected_by, corrected_as, correction) = ANY (ARRAY[0, 4]))),
    CONSTRAINT tenure_during_check CHECK (((NOT isempty(during)) AND lower_inc(during) AND (NOT lower_inf(during)))),
    CONSTRAINT tenure_inside_prefix CHECK (((block)::inet <<= (prefix_cidr)::inet)),
    CONSTRAINT tenure_kind_check CHECK ((kind = ANY (ARRAY['held'::text, 'routed'::text, 'anycast'::text]))),
    CONSTRAINT tenure_routed_is_within CHECK (((kind = 'held'::text) = (within IS NULL)))
);

CREATE TABLE public.prefix (
    id bigint NOT NULL,
    vrf_id integer NOT NULL,
    parent_id bigint,
    parent_cidr cidr,
    cidr cidr NOT NULL,
    role text NOT NULL,
    facility text,
    block_length integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    scope bigint GENERATED ALWAYS AS (COALESCE(parent_id, (- (vrf_id)::bigint))) STORED,
    description text DEFAULT ''::text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    standing text DEFAULT 'active'::text NOT NULL,
    organization_id uuid,
    project_id uuid,
    parent_role text,
    joined_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT prefix_block_length CHECK (((block_length >= masklen((cidr)::inet)) AND (block_length <=
CASE family((cidr)::inet)
    WHEN 4 THEN 32
    ELSE 128
END))),
    CONSTRAINT prefix_has_one_owner CHECK ((num_nonnulls(organization_id, project_id) <= 1)),
    CONSTRAINT prefix_has_whole_parent CHECK ((num_nonnulls(parent_id, parent_cidr, parent_role) = ANY (ARRAY[0, 3]))),
    CONSTRAINT prefix_inside_parent CHECK (((parent_cidr IS NULL) OR ((cidr)::inet << (parent_cidr)::inet))),
    CONSTRAINT prefix_parent_role_check CHECK ((parent_role = 'container'::text)),
    CONSTRAINT prefix_role_check CHECK ((role = ANY (ARRAY['container'::text, 'boot'::text, 'boot6'::text, 'public'::text, 'private'::text, 'ipv6'::text, 'elastic'::text, 'anycast'::text, 'loopback'::text, 'uplink'::text, 'management'::text, 'infrastructure'::text]))),
    CONSTRAINT prefix_standing_check CHECK ((standing = ANY (ARRAY['active'::text, 'draining'::text, 'frozen'::text, 'retired'::text]))),
    CONSTRAINT prefix_status_check CHECK ((status = ANY (ARRAY['active'::text, 'draining'::text, 'frozen'::text, 'retired'::text])))
);

CREATE TABLE public.prefix_grant (
    id uuid NOT NULL,
    prefix_id bigint NOT NULL,
    "right" public.prefix_right NOT NULL,
    organization_id uuid,
    project_id uuid,
    user_id uuid,
    granted_by text NOT NULL,
    granted_at timestamp with time zone NOT NULL,
    revoked_by text,
    revoked_at timestamp with time zone,
    CONSTRAINT prefix_grant_names_one CHECK ((num_nonnulls(organization_id, project_id, user_id) = 1)),
    CONSTRAINT prefix_grant_revoked CHECK (((num_nonnulls(revoked_by, revoked_at) = ANY (ARRAY[0, 2])) AND (revoked_at >= granted_at)))
);

CREATE TABLE public.abuse_tag (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    vrf_id integer NOT NULL,
    block cidr NOT NULL,
    tag text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    set_by text NOT NULL,
    set_at timestamp with time zone NOT NULL,
    cleared_by text,
    cleared_at timestamp with time zone,
    CONSTRAINT abuse_tag_tag_check CHECK ((tag ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);

CREATE TABLE public.address_price (
    type text NOT NULL,
    price_hourly numeric(12,6) NOT NULL,
    since timestamp with time zone NOT NULL,
    set_by text NOT NULL,
    CONSTRAINT address_price_price_hourly_check CHECK ((price_hourly >= (0)::numeric)),
    CONSTRAINT address_price_type_check CHECK ((type = ANY (ARRAY['public_ipv4'::text, 'public_ipv6'::text, 'private_ipv4'::text, 'global_ipv4'::text])))
);

CREATE TABLE public.agent_session (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    machine_id uuid NOT NULL,
    token bytea NOT NULL,
    session bytea,
    issued_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    seen_at timestamp with time zone,
    ended_at timestamp with time zone
);

CREATE TABLE public.agent_work (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    machine_id uuid NOT NULL,
    run_id uuid NOT NULL,
    slot text NOT NULL,
    kind text NOT NULL,
    spec jsonb NOT NULL,
    state text DEFAULT 'offered'::text NOT NULL,
    result jsonb DEFAULT '{}'::jsonb NOT NULL,
    reason text,
    stage text,
    percent real DEFAULT 0 NOT NULL,
    bytes_done bigint DEFAULT 0 NOT NULL,
    bytes_total bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    taken_at timestamp with time zone,
    progress_at timestamp with time zone,
    finished_at timestamp with time zone,
    bytes_per_s bigint DEFAULT 0 NOT NULL,
    CONSTRAINT agent_work_kind_check CHECK ((kind = ANY (ARRAY['install'::text, 'erase'::text, 'reboot'::text, 'burn_in'::text, 'rescue'::text, 'firmware'::text]))),
    CONSTRAINT agent_work_state_check CHECK ((state = ANY (ARRAY['offered'::text, 'taken'::text, 'done'::text, 'failed'::text, 'withdrawn'::text])))
);

CREATE TABLE public.api_token (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    digest bytea NOT NULL,
    user_id uuid,
    project_id uuid,
    read_only boolean DEFAULT false NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT api_token_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT api_token_speaks_for_one CHECK ((num_nonnulls(user_id, project_id) = 1))
);

CREATE TABLE public.asn_pool (
    id bigint NOT NULL,
    name text NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    facility text,
    cursor bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT asn_pool_first_check CHECK ((first >= 1)),
    CONSTRAINT asn_pool_last_check CHECK ((last <= '4294967294'::bigint)),
    CONSTRAINT asn_pool_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text)),
    CONSTRAINT asn_pool_order CHECK (((first <= last) AND ((cursor >= first) AND (cursor <= (last + 1)))))
);

ALTER TABLE public.asn_pool ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.asn_pool_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.asn_tenure (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    pool_id bigint NOT NULL,
    pool_first bigint NOT NULL,
    pool_last bigint NOT NULL,
    asn bigint NOT NULL,
    owner uuid NOT NULL,
    slot text NOT NULL,
    note jsonb DEFAULT '{}'::jsonb NOT NULL,
    opened_by text NOT NULL,
    closed_by text,
    during tstzrange NOT NULL,
    CONSTRAINT asn_tenure_during_check CHECK (((NOT isempty(during)) AND lower_inc(during) AND (NOT lower_inf(during)))),
    CONSTRAINT asn_tenure_in_pool CHECK (((asn >= pool_first) AND (asn <= pool_last)))
);

CREATE TABLE public.audit (
    seq bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    email text,
    token_id uuid,
    source text,
    method text NOT NULL,
    path text NOT NULL,
    request uuid NOT NULL,
    kind text NOT NULL,
    subject text,
    name text,
    action text NOT NULL,
    before jsonb,
    after jsonb,
    status integer,
    CONSTRAINT audit_action_check CHECK ((action = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text, 'request'::text, 'dry_run'::text, 'sign_in'::text, 'sign_out'::text]))),
    CONSTRAINT audit_status_check CHECK (((action = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text])) = (status IS NULL)))
);

ALTER TABLE public.audit ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.batch_device (
    batch_id uuid NOT NULL,
    place integer NOT NULL,
    device_id uuid NOT NULL,
    hostname text,
    facilities text[] DEFAULT '{}'::text[] NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    error text,
    CONSTRAINT batch_device_check CHECK (((error IS NOT NULL) = (state = 'refused'::text))),
    CONSTRAINT batch_device_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'ordered'::text, 'refused'::text, 'cancelled'::text])))
);

CREATE TABLE public.bgp_config (
    version bigint NOT NULL,
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    deployment_type text NOT NULL,
    asn bigint NOT NULL,
    md5 bytea,
    use_case text,
    status text NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    set_by text NOT NULL,
    during tstzrange NOT NULL,
    CONSTRAINT bgp_config_asn_check CHECK (((asn >= 1) AND (asn <= '4294967294'::bigint))),
    CONSTRAINT bgp_config_deployment_type_check CHECK ((deployment_type = ANY (ARRAY['local'::text, 'global'::text]))),
    CONSTRAINT bgp_config_during_check CHECK (((NOT isempty(during)) AND (NOT lower_inf(during)))),
    CONSTRAINT bgp_config_status_check CHECK ((status = ANY (ARRAY['requested'::text, 'enabled'::text])))
);

ALTER TABLE public.bgp_config ALTER COLUMN version ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.bgp_config_version_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.bgp_session (
    version bigint NOT NULL,
    id uuid NOT NULL,
    device_id uuid NOT NULL,
    address_family text NOT NULL,
    default_route boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    set_by text NOT NULL,
    ended_by text,
    during tstzrange NOT NULL,
    CONSTRAINT bgp_session_address_family_check CHECK ((address_family = ANY (ARRAY['ipv4'::text, 'ipv6'::text]))),
    CONSTRAINT bgp_session_during_check CHECK (((NOT isempty(during)) AND (NOT lower_inf(during))))
);

ALTER TABLE public.bgp_session ALTER COLUMN version ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.bgp_session_version_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.bmc_access (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    facility_id uuid NOT NULL,
    port_id uuid,
    url text NOT NULL,
    search cidr,
    username text NOT NULL,
    secret bytea NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.bmc_password (
    service text NOT NULL,
    username text NOT NULL,
    secret bytea NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.boot_node (
    id uuid NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    address text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    ports integer NOT NULL,
    loaded_at timestamp with time zone,
    counters jsonb NOT NULL
);

CREATE TABLE public.device (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    facility_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    operating_system text NOT NULL,
    hostname text NOT NULL,
    description text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    customdata jsonb DEFAULT '{}'::jsonb NOT NULL,
    userdata text DEFAULT ''::text NOT NULL,
    ipxe_script_url text,
    always_pxe boolean DEFAULT false NOT NULL,
    locked boolean DEFAULT false NOT NULL,
    billing_cycle text DEFAULT 'hourly'::text NOT NULL,
    ssh_key_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    ssh_keys text[] DEFAULT '{}'::text[] NOT NULL,
    root_password bytea NOT NULL,
    password_hash text NOT NULL,
    state text DEFAULT 'queued'::text NOT NULL,
    failure text,
    host_keys text[] DEFAULT '{}'::text[] NOT NULL,
    phoned_home_at timestamp with time zone,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deadline timestamp with time zone NOT NULL,
    active_at timestamp with time zone,
    deleted_at timestamp with time zone,
    engine text,
    storage jsonb DEFAULT '{"lvm": false, "raid": "none", "disks": []}'::jsonb NOT NULL,
    storage_passphrase bytea,
    image_release text,
    reservation_id uuid,
    termination_time timestamp with time zone,
    spot_price_max numeric(12,4),
    spot_request_id uuid,
    outbid_at timestamp with time zone,
    left_spot_at timestamp with time zone,
    network_frozen boolean DEFAULT false NOT NULL,
    failed_at timestamp with time zone,
    wanted_by timestamp with time zone,
    placed_at timestamp with time zone,
    allow_pxe boolean DEFAULT false NOT NULL,
    links text[] DEFAULT '{public,private,ipv6}'::text[] NOT NULL,
    search_keys text[] GENERATED ALWAYS AS (public.search_keys(((hostname || ' '::text) || COALESCE(description, ''::text)), tags)) STORED,
    CONSTRAINT device_engine_check CHECK ((engine = ANY (ARRAY['image'::text, 'native'::text]))),
    CONSTRAINT device_links CHECK (((links <@ ARRAY['public'::text, 'private'::text, 'ipv6'::text]) AND (links @> ARRAY['private'::text]))),
    CONSTRAINT device_reserved_or_spot CHECK (((reservation_id IS NULL) OR (spot_price_max IS NULL))),
    CONSTRAINT device_spot_price_max_check CHECK ((spot_price_max > (0)::numeric))
);

CREATE TABLE public.facility (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    metro_id uuid NOT NULL,
    code text NOT NULL,
    name text NOT NULL
);

CREATE TABLE public.leaf (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    facility_id uuid NOT NULL,
    name text NOT NULL,
    host text NOT NULL,
    port integer DEFAULT 830 NOT NULL,
    username text NOT NULL,
    secret bytea NOT NULL,
    host_key text NOT NULL,
    state text DEFAULT 'unknown'::text NOT NULL,
    fault text,
    epoch bigint DEFAULT 0 NOT NULL,
    holder uuid,
    held_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    database text DEFAULT 'candidate'::text NOT NULL,
    private_key bytea,
    fabric jsonb,
    generation bigint DEFAULT 1 NOT NULL,
    applied bigint DEFAULT 0 NOT NULL,
    rendering text,
    commit_s real,
    running bytea,
    running_at timestamp with time zone,
    read_asked_at timestamp with time zone,
    drifted integer DEFAULT 0 NOT NULL,
    locked_since timestamp with time zone,
    sessions text[] DEFAULT '{}'::text[] NOT NULL,
    rack_id uuid,
    rack_unit integer,
    CONSTRAINT leaf_database_check CHECK ((database = ANY (ARRAY['candidate'::text, 'private'::text, 'ephemeral'::text]))),
    CONSTRAINT leaf_place CHECK (((rack_unit IS NULL) OR ((rack_id IS NOT NULL) AND ((rack_unit >= 1) AND (rack_unit <= 100)))))
);

CREATE TABLE public.leaf_port (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    leaf_id uuid NOT NULL,
    name text NOT NULL,
    profile text DEFAULT 'quarantine'::text NOT NULL,
    device_id uuid,
    generation bigint DEFAULT 1 NOT NULL,
    applied bigint DEFAULT 0 NOT NULL,
    fault text,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    take_over boolean DEFAULT false NOT NULL,
    seen_mac macaddr,
    seen_name text,
    seen_at timestamp with time zone,
    booted_mac macaddr,
    booted_at timestamp with time zone,
    rack_id uuid,
    rack_unit integer,
    CONSTRAINT leaf_port_place CHECK (((rack_unit IS NULL) OR ((rack_id IS NOT NULL) AND ((rack_unit >= 1) AND (rack_unit <= 100))))),
    CONSTRAINT leaf_port_profile_check CHECK ((profile = ANY (ARRAY['quarantine'::text, 'provisioning'::text, 'active'::text, 'rescue'::text, 'maintenance'::text])))
);

CREATE TABLE public.machine (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    facility_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    port_id uuid,
    name text NOT NULL,
    mac macaddr NOT NULL,
    arch text DEFAULT 'amd64'::text NOT NULL,
    bmc_url text NOT NULL,
    bmc_username text NOT NULL,
    bmc_secret bytea NOT NULL,
    state text DEFAULT 'enrolled'::text NOT NULL,
    device_id uuid,
    installed boolean DEFAULT false NOT NULL,
    inventory jsonb DEFAULT '{}'::jsonb NOT NULL,
    reason text,
    state_since timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    secure_boot boolean DEFAULT false NOT NULL,
    rescue boolean DEFAULT false NOT NULL,
    rack_id uuid,
    rack_unit integer,
    reservation_id uuid,
    bmc_fingerprint text,
    held text,
    flag text,
    bmc_host_key text,
    leaving text,
    CONSTRAINT machine_bmc_fingerprint_check CHECK ((bmc_fingerprint ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT machine_has_port CHECK (((port_id IS NOT NULL) OR (state = 'retired'::text))),
    CONSTRAINT machine_place CHECK (((rack_unit IS NULL) OR ((rack_id IS NOT NULL) AND ((rack_unit >= 1) AND (rack_unit <= 100)))))
);

CREATE TABLE public.console_lease (
    machine_id uuid NOT NULL,
    holder uuid NOT NULL,
    host text NOT NULL,
    port integer NOT NULL,
    held_until timestamp with time zone NOT NULL
);

CREATE TABLE public.console_session (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    machine_id uuid,
    device_id uuid,
    user_id uuid,
    fingerprint text NOT NULL,
    source text NOT NULL,
    writes boolean DEFAULT false NOT NULL,
    wrote boolean DEFAULT false NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone
);

CREATE TABLE public.device_batch (
    id uuid NOT NULL,
    request_id uuid NOT NULL,
    place integer NOT NULL,
    project_id uuid NOT NULL,
    wish jsonb NOT NULL,
    created_by uuid,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone
);

CREATE TABLE public.device_tally (
    project_id uuid NOT NULL,
    facility_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    devices bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.discovery (
    port_id uuid NOT NULL,
    mac macaddr NOT NULL,
    inventory jsonb NOT NULL,
    session bytea NOT NULL,
    token bytea NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    reason text,
    state_since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT discovery_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'quarantined'::text])))
);

CREATE TABLE public.dns_zone (
    name text NOT NULL,
    fault text,
    tried_at timestamp with time zone NOT NULL,
    confirmed_at timestamp with time zone
);

CREATE TABLE public.ip_label (
    id uuid NOT NULL,
    details text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    customdata jsonb DEFAULT '{}'::jsonb NOT NULL,
    manageable boolean DEFAULT true NOT NULL,
    request_key uuid,
    request bytea,
    released_at timestamp with time zone,
    released_by text,
    CONSTRAINT ip_label_released CHECK ((num_nonnulls(released_at, released_by) = ANY (ARRAY[0, 2]))),
    CONSTRAINT ip_label_request CHECK ((num_nonnulls(request_key, request) = ANY (ARRAY[0, 2])))
);

CREATE TABLE public.erase_certificate (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    machine_id uuid NOT NULL,
    run_id uuid NOT NULL,
    evidence jsonb NOT NULL,
    signature bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.event (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    seq bigint NOT NULL,
    project_id uuid,
    device_id uuid,
    machine_id uuid,
    type text NOT NULL,
    state text,
    body text NOT NULL,
    private boolean DEFAULT false NOT NULL,
    data jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    "position" bigint
);

ALTER TABLE public.event ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.event_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.event_tail (
    one boolean DEFAULT true NOT NULL,
    "position" bigint NOT NULL,
    CONSTRAINT event_tail_one_check CHECK (one)
);

CREATE TABLE public.event_tally (
    project_id uuid,
    private boolean NOT NULL,
    events bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.facility_event (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    source text NOT NULL,
    given_id text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    machine_id uuid,
    happened_at timestamp with time zone NOT NULL,
    content jsonb NOT NULL,
    state text NOT NULL,
    outcome text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    applied_at timestamp with time zone NOT NULL,
    CONSTRAINT facility_event_kind_check CHECK ((kind = ANY (ARRAY['racked'::text, 'cabled'::text, 'moved'::text, 'failed'::text, 'part_replaced'::text, 'retired'::text]))),
    CONSTRAINT facility_event_state_check CHECK ((state = ANY (ARRAY['applied'::text, 'late'::text, 'unknown'::text, 'refused'::text, 'flagged'::text])))
);

CREATE TABLE public.facility_secret (
    facility_id uuid NOT NULL,
    secret bytea NOT NULL,
    old_secret bytea,
    old_secret_until timestamp with time zone,
    set_by text NOT NULL,
    set_at timestamp with time zone NOT NULL,
    CONSTRAINT facility_secret_check CHECK (((old_secret IS NULL) = (old_secret_until IS NULL)))
);

CREATE TABLE public.free_asn (
    pool_id bigint NOT NULL,
    asn bigint NOT NULL,
    free_since timestamp with time zone NOT NULL
);

CREATE TABLE public.free_block (
    prefix_id bigint NOT NULL,
    block cidr NOT NULL,
    free_since timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    tagged boolean DEFAULT false NOT NULL
);

CREATE TABLE public.handover_rule (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    plan_id uuid,
    vendor text DEFAULT ''::text NOT NULL,
    product text DEFAULT ''::text NOT NULL,
    ways text[] NOT NULL,
    note text DEFAULT ''::text NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    changed_by text NOT NULL,
    CONSTRAINT handover_ways CHECK (((ways <@ ARRAY['switch_root'::text, 'kexec'::text, 'reboot'::text]) AND (cardinality(ways) > 0)))
);

CREATE TABLE public.hardware_reservation (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    machine_id uuid NOT NULL,
    spare boolean DEFAULT false NOT NULL,
    note text,
    created_by text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone,
    ended_at timestamp with time zone,
    CONSTRAINT hardware_reservation_check CHECK ((ends_at > created_at))
);

CREATE TABLE public.hook (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid,
    project_id uuid,
    name text NOT NULL,
    kind text NOT NULL,
    mode text DEFAULT 'tell'::text NOT NULL,
    target text NOT NULL,
    follows text[] NOT NULL,
    secret bytea NOT NULL,
    old_secret bytea,
    old_secret_until timestamp with time zone,
    enabled boolean DEFAULT true NOT NULL,
    limit_s double precision NOT NULL,
    retries integer NOT NULL,
    on_failure text DEFAULT 'refuse'::text NOT NULL,
    created_by text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    "position" bigint NOT NULL,
    wanted bigint DEFAULT 0 NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    failing_since timestamp with time zone,
    fault text,
    epoch bigint DEFAULT 0 NOT NULL,
    held_until timestamp with time zone,
    CONSTRAINT hook_follows_check CHECK ((cardinality(follows) > 0)),
    CONSTRAINT hook_kind_check CHECK ((kind = ANY (ARRAY['webhook'::text, 'executable'::text]))),
    CONSTRAINT hook_mode_check CHECK ((mode = ANY (ARRAY['tell'::text, 'ask'::text]))),
    CONSTRAINT hook_of_customer CHECK ((((organization_id IS NULL) AND (project_id IS NULL)) OR ((kind = 'webhook'::text) AND (mode = 'tell'::text)))),
    CONSTRAINT hook_on_failure_check CHECK ((on_failure = ANY (ARRAY['refuse'::text, 'proceed'::text]))),
    CONSTRAINT hook_owner CHECK (((organization_id IS NULL) OR (project_id IS NULL)))
);

CREATE TABLE public.hook_delivery (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    hook_id uuid NOT NULL,
    event_id uuid,
    "position" bigint NOT NULL,
    type text NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    status integer,
    answer text DEFAULT ''::text NOT NULL,
    took_s double precision,
    created_at timestamp with time zone NOT NULL,
    attempted_at timestamp with time zone NOT NULL,
    delivered_at timestamp with time zone,
    CONSTRAINT hook_delivery_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'delivered'::text, 'dead'::text])))
);

CREATE TABLE public.hook_question (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    hook_id uuid NOT NULL,
    key text NOT NULL,
    transition text NOT NULL,
    machine_id uuid NOT NULL,
    device_id uuid,
    asker uuid,
    state text DEFAULT 'open'::text NOT NULL,
    decided_by text,
    reason text,
    attempts integer DEFAULT 0 NOT NULL,
    status integer,
    answer text DEFAULT ''::text NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    next_at timestamp with time zone NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    held_until timestamp with time zone,
    decided_at timestamp with time zone,
    CONSTRAINT hook_question_decided CHECK (((state = 'open'::text) = (decided_at IS NULL))),
    CONSTRAINT hook_question_state_check CHECK ((state = ANY (ARRAY['open'::text, 'allowed'::text, 'vetoed'::text])))
);

CREATE TABLE public.idempotency (
    scope uuid NOT NULL,
    key text NOT NULL,
    request bytea NOT NULL,
    status integer NOT NULL,
    subject uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.image_install (
    run_id uuid NOT NULL,
    attempt integer NOT NULL,
    device_id uuid NOT NULL,
    machine_id uuid NOT NULL,
    slug text NOT NULL,
    release text NOT NULL,
    plan text NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    failure text,
    reason text,
    stages jsonb DEFAULT '{}'::jsonb NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    seconds double precision,
    order_s double precision,
    CONSTRAINT image_install_ended CHECK (((ended_at IS NOT NULL) = (state <> 'running'::text))),
    CONSTRAINT image_install_failure CHECK (((failure IS NOT NULL) = (state = 'failed'::text))),
    CONSTRAINT image_install_failure_check CHECK ((failure = ANY (ARRAY['start'::text, 'network'::text, 'install'::text, 'first_boot'::text, 'prove'::text]))),
    CONSTRAINT image_install_state_check CHECK ((state = ANY (ARRAY['running'::text, 'active'::text, 'failed'::text])))
);

CREATE TABLE public.invitation (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid,
    project_id uuid,
    email text NOT NULL,
    roles text[] NOT NULL,
    project_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    message text DEFAULT ''::text NOT NULL,
    invited_by uuid,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT invitation_is_to_one CHECK ((num_nonnulls(organization_id, project_id) = 1)),
    CONSTRAINT invitation_roles_check CHECK ((cardinality(roles) > 0))
);

CREATE TABLE public.leaf_exemption (
    leaf_id uuid NOT NULL,
    object text[] NOT NULL,
    instead_of text NOT NULL,
    accepted bytea NOT NULL,
    difference text NOT NULL,
    accepted_by text NOT NULL,
    accepted_at timestamp with time zone NOT NULL
);

CREATE TABLE public.leaf_plan (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    leaf_id uuid NOT NULL,
    action text NOT NULL,
    arguments jsonb NOT NULL,
    difference text NOT NULL,
    touched jsonb NOT NULL,
    digest text NOT NULL,
    planned_by text NOT NULL,
    planned_at timestamp with time zone NOT NULL,
    applied_by text,
    applied_at timestamp with time zone
);

CREATE TABLE public.membership (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    organization_id uuid,
    project_id uuid,
    roles text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT membership_is_of_one CHECK ((num_nonnulls(organization_id, project_id) = 1)),
    CONSTRAINT membership_roles CHECK ((roles <@
CASE
    WHEN (organization_id IS NULL) THEN '{admin,collaborator,viewer}'::text[]
    ELSE '{owner,admin,collaborator,viewer}'::text[]
END)),
    CONSTRAINT membership_roles_check CHECK ((cardinality(roles) > 0))
);

CREATE TABLE public.metro (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    country text NOT NULL
);

CREATE TABLE public.native_install (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    machine_id uuid NOT NULL,
    run_id uuid NOT NULL,
    slot text NOT NULL,
    state text DEFAULT 'offered'::text NOT NULL,
    token bytea,
    issued_at timestamp with time zone,
    boots integer DEFAULT 0 NOT NULL,
    stage text DEFAULT ''::text NOT NULL,
    missing text,
    host_keys text[] DEFAULT '{}'::text[] NOT NULL,
    reason text,
    created_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT native_install_state_check CHECK ((state = ANY (ARRAY['offered'::text, 'started'::text, 'done'::text, 'failed'::text, 'withdrawn'::text])))
);

CREATE TABLE public.operating_system (
    slug text NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL
);

CREATE TABLE public.organization (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    description text,
    customdata jsonb DEFAULT '{}'::jsonb NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT organization_name_check CHECK ((name <> ''::text))
);

CREATE TABLE public.plan (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    slug text NOT NULL,
    aliases text[] DEFAULT '{}'::text[] NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    specs jsonb NOT NULL,
    price_hourly numeric(10,4) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    burn_in jsonb DEFAULT '{}'::jsonb NOT NULL,
    bom jsonb,
    rack_units integer DEFAULT 1 NOT NULL,
    nodes integer DEFAULT 1 NOT NULL,
    CONSTRAINT plan_nodes_check CHECK (((nodes >= 1) AND (nodes <= 16))),
    CONSTRAINT plan_price_hourly_check CHECK ((price_hourly >= (0)::numeric)),
    CONSTRAINT plan_rack_units_check CHECK (((rack_units >= 1) AND (rack_units <= 50)))
);

CREATE TABLE public.plan_price (
    plan_id uuid NOT NULL,
    price_hourly numeric(12,4) NOT NULL,
    since timestamp with time zone NOT NULL,
    CONSTRAINT plan_price_price_hourly_check CHECK ((price_hourly >= (0)::numeric))
);

CREATE TABLE public.run (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    workflow text NOT NULL,
    subject uuid NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    step text NOT NULL,
    data jsonb DEFAULT '{}'::jsonb NOT NULL,
    reason text,
    failure text,
    attempt integer DEFAULT 0 NOT NULL,
    signals bigint DEFAULT 0 NOT NULL,
    wake_at timestamp with time zone DEFAULT now() NOT NULL,
    step_since timestamp with time zone DEFAULT now() NOT NULL,
    deadline timestamp with time zone NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    worker uuid,
    leased_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT run_finished CHECK (((finished_at IS NOT NULL) = (state = ANY (ARRAY['done'::text, 'failed'::text, 'superseded'::text])))),
    CONSTRAINT run_state_check CHECK ((state = ANY (ARRAY['running'::text, 'undoing'::text, 'done'::text, 'failed'::text, 'superseded'::text])))
);

ALTER TABLE public.prefix ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.prefix_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.project (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    name text NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    customdata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    backend_transfer boolean DEFAULT false NOT NULL,
    CONSTRAINT project_name_check CHECK ((name <> ''::text))
);

CREATE TABLE public.ptr (
    vrf_id integer NOT NULL,
    address inet NOT NULL,
    name text NOT NULL,
    project_id uuid,
    set_by text NOT NULL,
    set_at timestamp with time zone NOT NULL,
    CONSTRAINT ptr_address_check CHECK ((address = set_masklen(address, '-1'::integer)))
);

CREATE TABLE public.ptr_pushed (
    zone text NOT NULL,
    address inet NOT NULL,
    source text NOT NULL,
    name text,
    confirmed_at timestamp with time zone NOT NULL
);

CREATE TABLE public.quota (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid,
    project_id uuid,
    devices integer,
    elastic_ipv4 bigint,
    elastic_ipv6 bigint,
    projects integer,
    members integer,
    CONSTRAINT quota_devices_check CHECK ((devices >= 0)),
    CONSTRAINT quota_elastic_ipv4_check CHECK ((elastic_ipv4 >= 0)),
    CONSTRAINT quota_elastic_ipv6_check CHECK ((elastic_ipv6 >= 0)),
    CONSTRAINT quota_is_of_one CHECK ((num_nonnulls(organization_id, project_id) = 1)),
    CONSTRAINT quota_members_check CHECK ((members >= 0)),
    CONSTRAINT quota_of_project CHECK (((project_id IS NULL) OR (projects IS NULL))),
    CONSTRAINT quota_projects_check CHECK ((projects >= 0))
);

CREATE TABLE public.rack (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    facility_id uuid NOT NULL,
    name text NOT NULL,
    units integer DEFAULT 42 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT rack_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'::text)),
    CONSTRAINT rack_units_check CHECK (((units >= 1) AND (units <= 100)))
);

CREATE TABLE public.reservation_holding (
    reservation_id uuid NOT NULL,
    project_id uuid NOT NULL,
    custom_rate numeric(12,4),
    since timestamp with time zone NOT NULL,
    until timestamp with time zone,
    CONSTRAINT reservation_holding_check CHECK ((until >= since)),
    CONSTRAINT reservation_holding_custom_rate_check CHECK ((custom_rate >= (0)::numeric))
);

CREATE TABLE public.rma (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    machine_id uuid NOT NULL,
    reason text NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    opened_by text NOT NULL,
    evidence text NOT NULL,
    signature bytea NOT NULL,
    inventory jsonb NOT NULL,
    changes jsonb,
    closed_at timestamp with time zone
);

CREATE TABLE public.rollout (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    slug text NOT NULL,
    release text NOT NULL,
    baseline text NOT NULL,
    plans text[] DEFAULT '{}'::text[] NOT NULL,
    percent integer NOT NULL,
    enough integer NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    step_since timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT rollout_ended CHECK (((ended_at IS NOT NULL) = (state <> 'running'::text))),
    CONSTRAINT rollout_enough_check CHECK ((enough > 0)),
    CONSTRAINT rollout_leads_somewhere CHECK ((release <> baseline)),
    CONSTRAINT rollout_percent_check CHECK (((percent >= 1) AND (percent <= 100))),
    CONSTRAINT rollout_state_check CHECK ((state = ANY (ARRAY['running'::text, 'complete'::text, 'rolled_back'::text, 'aborted'::text])))
);

CREATE TABLE public.route_withdrawal (
    port_id uuid NOT NULL,
    vrf_id integer NOT NULL,
    block cidr NOT NULL,
    generation bigint NOT NULL
);

CREATE TABLE public.run_step (
    run_id uuid NOT NULL,
    step text NOT NULL,
    attempt integer NOT NULL,
    state text NOT NULL,
    reason text,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT run_step_state_check CHECK ((state = ANY (ARRAY['started'::text, 'done'::text, 'failed'::text, 'undone'::text])))
);

CREATE TABLE public.schema_migration (
    number integer NOT NULL,
    title text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.service_secret (
    name text NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.spot_market_request (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    devices_min integer NOT NULL,
    devices_max integer NOT NULL,
    max_bid_price numeric(12,4) NOT NULL,
    facilities text[] DEFAULT '{}'::text[] NOT NULL,
    metro text,
    parameters jsonb NOT NULL,
    reason text,
    end_at timestamp with time zone,
    created_by uuid,
    created_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT spot_market_request_check CHECK ((devices_max >= devices_min)),
    CONSTRAINT spot_market_request_devices_min_check CHECK ((devices_min > 0)),
    CONSTRAINT spot_market_request_max_bid_price_check CHECK ((max_bid_price > (0)::numeric))
);

CREATE TABLE public.spot_price (
    facility_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    price numeric(12,4) NOT NULL,
    since timestamp with time zone NOT NULL,
    CONSTRAINT spot_price_price_check CHECK ((price >= (0)::numeric))
);

CREATE TABLE public.ssh_key (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid,
    project_id uuid,
    label text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ssh_key_has_one_owner CHECK ((num_nonnulls(user_id, project_id) = 1)),
    CONSTRAINT ssh_key_label_check CHECK ((label <> ''::text))
);

CREATE TABLE public.traffic_sample (
    device_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    port_id uuid NOT NULL,
    inbound numeric(20,0) NOT NULL,
    outbound numeric(20,0) NOT NULL,
    CONSTRAINT traffic_sample_inbound_check CHECK ((inbound >= (0)::numeric)),
    CONSTRAINT traffic_sample_outbound_check CHECK ((outbound >= (0)::numeric))
);

CREATE TABLE public.user_account (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    email text NOT NULL,
    first_name text DEFAULT ''::text NOT NULL,
    last_name text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    staff_role text,
    disabled_at timestamp with time zone,
    CONSTRAINT user_account_staff_role_check CHECK ((staff_role = ANY (ARRAY['operator'::text, 'support'::text, 'facility'::text])))
);

CREATE TABLE public.vrf (
    id integer NOT NULL,
    name text NOT NULL
);

ALTER TABLE public.vrf ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.vrf_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY public.abuse_tag
    ADD CONSTRAINT abuse_tag_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.address_price
    ADD CONSTRAINT address_price_pkey PRIMARY KEY (type, since);

ALTER TABLE ONLY public.agent_session
    ADD CONSTRAINT agent_session_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.agent_session
    ADD CONSTRAINT agent_session_session_key UNIQUE (session);

ALTER TABLE ONLY public.agent_session
    ADD CONSTRAINT agent_session_token_key UNIQUE (token);

ALTER TABLE ONLY public.agent_work
    ADD CONSTRAINT agent_work_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.agent_work
    ADD CONSTRAINT agent_work_run_id_slot_key UNIQUE (run_id, slot);

ALTER TABLE ONLY public.api_token
    ADD CONSTRAINT api_token_digest_key UNIQUE (digest);

ALTER TABLE ONLY public.api_token
    ADD CONSTRAINT api_token_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.asn_pool
    ADD CONSTRAINT asn_pool_name_key UNIQUE (name);

ALTER TABLE ONLY public.asn_pool
    ADD CONSTRAINT asn_pool_overlap EXCLUDE USING gist (int8range(first, last, '[]'::text) WITH &&);

ALTER TABLE ONLY public.asn_pool
    ADD CONSTRAINT asn_pool_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.asn_pool
    ADD CONSTRAINT asn_pool_span UNIQUE (id, first, last);

ALTER TABLE ONLY public.asn_tenure
    ADD CONSTRAINT asn_tenure_overlap EXCLUDE USING gist (int8range(asn, asn, '[]'::text) WITH &&, during WITH &&);

ALTER TABLE ONLY public.asn_tenure
    ADD CONSTRAINT asn_tenure_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY public.batch_device
    ADD CONSTRAINT batch_device_device_id_key UNIQUE (device_id);

ALTER TABLE ONLY public.batch_device
    ADD CONSTRAINT batch_device_pkey PRIMARY KEY (batch_id, place);

ALTER TABLE ONLY public.bgp_config
    ADD CONSTRAINT bgp_config_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.bgp_session
    ADD CONSTRAINT bgp_session_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.bmc_access
    ADD CONSTRAINT bmc_access_facility_id_port_id_key UNIQUE NULLS NOT DISTINCT (facility_id, port_id);

ALTER TABLE ONLY public.bmc_access
    ADD CONSTRAINT bmc_access_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.bmc_password
    ADD CONSTRAINT bmc_password_pkey PRIMARY KEY (service, username);

ALTER TABLE ONLY public.boot_node
    ADD CONSTRAINT boot_node_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.console_lease
    ADD CONSTRAINT console_lease_pkey PRIMARY KEY (machine_id);

ALTER TABLE ONLY public.console_session
    ADD CONSTRAINT console_session_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.device_batch
    ADD CONSTRAINT device_batch_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.device_batch
    ADD CONSTRAINT device_batch_request_id_place_key UNIQUE (request_id, place);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.discovery
    ADD CONSTRAINT discovery_pkey PRIMARY KEY (port_id, mac);

ALTER TABLE ONLY public.dns_zone
    ADD CONSTRAINT dns_zone_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.erase_certificate
    ADD CONSTRAINT erase_certificate_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.erase_certificate
    ADD CONSTRAINT erase_certificate_run_id_key UNIQUE (run_id);

ALTER TABLE ONLY public.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.event
    ADD CONSTRAINT event_seq_key UNIQUE (seq);

ALTER TABLE ONLY public.event_tail
    ADD CONSTRAINT event_tail_pkey PRIMARY KEY (one);

ALTER TABLE ONLY public.facility
    ADD CONSTRAINT facility_code_key UNIQUE (code);

ALTER TABLE ONLY public.facility_event
    ADD CONSTRAINT facility_event_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.facility_event
    ADD CONSTRAINT facility_event_source_given_id_key UNIQUE (source, given_id);

ALTER TABLE ONLY public.facility
    ADD CONSTRAINT facility_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.facility_secret
    ADD CONSTRAINT facility_secret_pkey PRIMARY KEY (facility_id);

ALTER TABLE ONLY public.free_asn
    ADD CONSTRAINT free_asn_pkey PRIMARY KEY (pool_id, asn);

ALTER TABLE ONLY public.free_block
    ADD CONSTRAINT free_block_pkey PRIMARY KEY (prefix_id, block);

ALTER TABLE ONLY public.handover_rule
    ADD CONSTRAINT handover_one_rule UNIQUE NULLS NOT DISTINCT (plan_id, vendor, product);

ALTER TABLE ONLY public.handover_rule
    ADD CONSTRAINT handover_rule_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.hardware_reservation
    ADD CONSTRAINT hardware_reservation_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.hook_delivery
    ADD CONSTRAINT hook_delivery_hook_id_event_id_key UNIQUE (hook_id, event_id);

ALTER TABLE ONLY public.hook_delivery
    ADD CONSTRAINT hook_delivery_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.hook
    ADD CONSTRAINT hook_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.hook_question
    ADD CONSTRAINT hook_question_hook_id_key_key UNIQUE (hook_id, key);

ALTER TABLE ONLY public.hook_question
    ADD CONSTRAINT hook_question_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (scope, key);

ALTER TABLE ONLY public.image_install
    ADD CONSTRAINT image_install_pkey PRIMARY KEY (run_id, attempt);

ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT invitation_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ip_label
    ADD CONSTRAINT ip_label_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ip_label
    ADD CONSTRAINT ip_label_request_key_key UNIQUE (request_key);

ALTER TABLE ONLY public.leaf_exemption
    ADD CONSTRAINT leaf_exemption_pkey PRIMARY KEY (leaf_id, object);

ALTER TABLE ONLY public.leaf
    ADD CONSTRAINT leaf_name_key UNIQUE (name);

ALTER TABLE ONLY public.leaf
    ADD CONSTRAINT leaf_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.leaf_plan
    ADD CONSTRAINT leaf_plan_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.leaf_port
    ADD CONSTRAINT leaf_port_leaf_id_name_key UNIQUE (leaf_id, name);

ALTER TABLE ONLY public.leaf_port
    ADD CONSTRAINT leaf_port_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_device_id_key UNIQUE (device_id);

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_port_id_key UNIQUE (port_id) DEFERRABLE;

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_reservation_id_key UNIQUE (reservation_id);

ALTER TABLE ONLY public.membership
    ADD CONSTRAINT membership_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.metro
    ADD CONSTRAINT metro_code_key UNIQUE (code);

ALTER TABLE ONLY public.metro
    ADD CONSTRAINT metro_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.native_install
    ADD CONSTRAINT native_install_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.native_install
    ADD CONSTRAINT native_install_run_id_slot_key UNIQUE (run_id, slot);

ALTER TABLE ONLY public.operating_system
    ADD CONSTRAINT operating_system_id_key UNIQUE (id);

ALTER TABLE ONLY public.operating_system
    ADD CONSTRAINT operating_system_pkey PRIMARY KEY (slug);

ALTER TABLE ONLY public.organization
    ADD CONSTRAINT organization_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.plan
    ADD CONSTRAINT plan_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.plan_price
    ADD CONSTRAINT plan_price_pkey PRIMARY KEY (plan_id, since);

ALTER TABLE ONLY public.plan
    ADD CONSTRAINT plan_slug_key UNIQUE (slug);

ALTER TABLE ONLY public.prefix_grant
    ADD CONSTRAINT prefix_grant_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.prefix
    ADD CONSTRAINT prefix_id_cidr_key UNIQUE (id, cidr);

ALTER TABLE ONLY public.prefix
    ADD CONSTRAINT prefix_identity UNIQUE (id, vrf_id, cidr);

ALTER TABLE ONLY public.prefix
    ADD CONSTRAINT prefix_kind UNIQUE (id, cidr, role);

ALTER TABLE ONLY public.prefix
    ADD CONSTRAINT prefix_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.prefix
    ADD CONSTRAINT prefix_sibling_overlap EXCLUDE USING gist (int8range(scope, scope, '[]'::text) WITH &&, cidr inet_ops WITH &&) WHERE ((status <> 'retired'::text)) DEFERRABLE;

ALTER TABLE ONLY public.project
    ADD CONSTRAINT project_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ptr
    ADD CONSTRAINT ptr_pkey PRIMARY KEY (vrf_id, address);

ALTER TABLE ONLY public.ptr_pushed
    ADD CONSTRAINT ptr_pushed_pkey PRIMARY KEY (zone, address);

ALTER TABLE ONLY public.quota
    ADD CONSTRAINT quota_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.rack
    ADD CONSTRAINT rack_facility_id_name_key UNIQUE (facility_id, name);

ALTER TABLE ONLY public.rack
    ADD CONSTRAINT rack_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.reservation_holding
    ADD CONSTRAINT reservation_holding_pkey PRIMARY KEY (reservation_id, since);

ALTER TABLE ONLY public.rma
    ADD CONSTRAINT rma_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.route_withdrawal
    ADD CONSTRAINT route_withdrawal_pkey PRIMARY KEY (port_id, vrf_id, block);

ALTER TABLE ONLY public.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.run_step
    ADD CONSTRAINT run_step_pkey PRIMARY KEY (run_id, step, attempt);

ALTER TABLE ONLY public.schema_migration
    ADD CONSTRAINT schema_migration_pkey PRIMARY KEY (number);

ALTER TABLE ONLY public.service_secret
    ADD CONSTRAINT service_secret_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.spot_market_request
    ADD CONSTRAINT spot_market_request_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.spot_price
    ADD CONSTRAINT spot_price_pkey PRIMARY KEY (facility_id, plan_id, since);

ALTER TABLE ONLY public.ssh_key
    ADD CONSTRAINT ssh_key_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenure
    ADD CONSTRAINT tenure_overlap4 EXCLUDE USING gist (public.span4(plane, block) WITH &&, during WITH &&) WHERE (((family((block)::inet) = 4) AND (kind <> 'anycast'::text) AND (corrected_at IS NULL)));

ALTER TABLE ONLY public.tenure
    ADD CONSTRAINT tenure_overlap6 EXCLUDE USING gist (public.span6(block, 0) WITH &&, public.span6(block, 1) WITH &&, int8range(plane, plane, '[]'::text) WITH &&, during WITH &&) WHERE (((family((block)::inet) = 6) AND (kind <> 'anycast'::text) AND (corrected_at IS NULL)));

ALTER TABLE ONLY public.tenure
    ADD CONSTRAINT tenure_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.traffic_sample
    ADD CONSTRAINT traffic_sample_pkey PRIMARY KEY (device_id, at);

ALTER TABLE ONLY public.user_account
    ADD CONSTRAINT user_account_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.vrf
    ADD CONSTRAINT vrf_name_key UNIQUE (name);

ALTER TABLE ONLY public.vrf
    ADD CONSTRAINT vrf_pkey PRIMARY KEY (id);

CREATE INDEX abuse_tag_block ON public.abuse_tag USING gist (block inet_ops) WHERE (cleared_at IS NULL);

CREATE UNIQUE INDEX abuse_tag_once ON public.abuse_tag USING btree (vrf_id, block, tag) WHERE (cleared_at IS NULL);

CREATE INDEX agent_session_of_machine ON public.agent_session USING btree (machine_id, issued_at DESC) WHERE (ended_at IS NULL);

CREATE INDEX agent_work_machine ON public.agent_work USING btree (machine_id, created_at);

CREATE UNIQUE INDEX agent_work_open ON public.agent_work USING btree (machine_id) WHERE (state = ANY (ARRAY['offered'::text, 'taken'::text]));

CREATE INDEX api_token_by_project ON public.api_token USING btree (project_id, created_at) WHERE (project_id IS NOT NULL);

CREATE INDEX api_token_by_user ON public.api_token USING btree (user_id, created_at) WHERE (user_id IS NOT NULL);

CREATE UNIQUE INDEX asn_tenure_slot ON public.asn_tenure USING btree (owner, slot) WHERE upper_inf(during);

CREATE INDEX audit_actor ON public.audit USING btree (actor, seq DESC);

CREATE INDEX audit_at ON public.audit USING btree (at);

CREATE INDEX audit_request ON public.audit USING btree (request);

CREATE INDEX audit_subject ON public.audit USING btree (subject, seq DESC);

CREATE INDEX batch_device_waiting ON public.batch_device USING btree (batch_id, place) WHERE (state = 'waiting'::text);

CREATE UNIQUE INDEX bgp_config_now ON public.bgp_config USING btree (project_id) WHERE upper_inf(during);

CREATE UNIQUE INDEX bgp_session_now ON public.bgp_session USING btree (id) WHERE upper_inf(during);

CREATE UNIQUE INDEX bgp_session_of_device ON public.bgp_session USING btree (device_id, address_family) WHERE upper_inf(during);

CREATE INDEX console_session_device ON public.console_session USING btree (device_id);

CREATE INDEX console_session_machine ON public.console_session USING btree (machine_id, started_at);

CREATE INDEX console_session_user ON public.console_session USING btree (user_id);

CREATE UNIQUE INDEX console_session_writer ON public.console_session USING btree (machine_id) WHERE (writes AND (ended_at IS NULL));

CREATE INDEX device_batch_of_project ON public.device_batch USING btree (project_id, created_at DESC) WHERE (deleted_at IS NULL);

CREATE INDEX device_beside_the_market ON public.device USING btree (facility_id, plan_id) WHERE ((deleted_at IS NULL) AND ((state = 'failed'::text) OR (reservation_id IS NOT NULL) OR (spot_price_max IS NOT NULL)));

CREATE INDEX device_by_age ON public.device USING btree (created_at DESC, id) INCLUDE (project_id, facility_id, plan_id, state) WHERE (deleted_at IS NULL);

CREATE INDEX device_by_change ON public.device USING btree (project_id, updated_at DESC, created_at DESC, id) WHERE (deleted_at IS NULL);

CREATE INDEX device_by_name ON public.device USING btree (project_id, hostname, created_at DESC, id) WHERE (deleted_at IS NULL);

CREATE INDEX device_by_project ON public.device USING btree (project_id, created_at DESC, id) INCLUDE (facility_id, plan_id, state) WHERE (deleted_at IS NULL);

CREATE INDEX device_by_state ON public.device USING btree (project_id, state, created_at DESC, id) WHERE (deleted_at IS NULL);

CREATE INDEX device_named ON public.device USING btree (hostname) WHERE (deleted_at IS NULL);

CREATE UNIQUE INDEX device_of_reservation ON public.device USING btree (reservation_id) WHERE ((reservation_id IS NOT NULL) AND (deleted_at IS NULL));

CREATE INDEX device_of_spot_request ON public.device USING btree (spot_request_id) WHERE (spot_request_id IS NOT NULL);

CREATE INDEX device_on_spot ON public.device USING btree (facility_id, plan_id) WHERE ((spot_price_max IS NOT NULL) AND (deleted_at IS NULL));

CREATE INDEX device_placed ON public.device USING btree (facility_id, plan_id, project_id, placed_at) WHERE (placed_at IS NOT NULL);

CREATE INDEX device_searched ON public.device USING gin (search_keys) WHERE (deleted_at IS NULL);

CREATE INDEX device_tagged ON public.device USING gin (tags) WHERE ((deleted_at IS NULL) AND (tags <> '{}'::text[]));

CREATE INDEX device_tally_by_project ON public.device_tally USING btree (project_id);

CREATE INDEX device_to_terminate ON public.device USING btree (termination_time) WHERE ((termination_time IS NOT NULL) AND (deleted_at IS NULL));

CREATE INDEX device_used ON public.device USING btree (project_id, active_at) WHERE (active_at IS NOT NULL);

CREATE INDEX device_waiting ON public.device USING btree (facility_id, plan_id) WHERE (state = ANY (ARRAY['queued'::text, 'provisioning'::text]));

CREATE INDEX erase_certificate_of_machine ON public.erase_certificate USING btree (machine_id, created_at DESC);

CREATE INDEX event_by_device ON public.event USING btree (device_id, seq DESC);

CREATE INDEX event_by_machine ON public.event USING btree (machine_id, seq DESC);

CREATE INDEX event_by_project ON public.event USING btree (project_id, seq DESC);

CREATE INDEX event_device_position ON public.event USING btree (device_id, "position");

CREATE UNIQUE INDEX event_position ON public.event USING btree ("position");

CREATE INDEX event_project_position ON public.event USING btree (project_id, "position");

CREATE INDEX event_tally_by_project ON public.event_tally USING btree (project_id);

CREATE INDEX event_unnumbered ON public.event USING btree (seq) WHERE ("position" IS NULL);

CREATE INDEX facility_event_latest ON public.facility_event USING btree (created_at DESC);

CREATE INDEX facility_event_machine ON public.facility_event USING btree (machine_id, happened_at DESC);

CREATE INDEX free_asn_oldest ON public.free_asn USING btree (pool_id, free_since);

CREATE INDEX free_block_next ON public.free_block USING btree (prefix_id, masklen((block)::inet), free_since, block) WHERE (NOT tagged);

CREATE INDEX hook_asks ON public.hook USING btree (name) WHERE (enabled AND (mode = 'ask'::text));

CREATE INDEX hook_delivery_dead ON public.hook_delivery USING btree (hook_id, "position") WHERE (state = 'dead'::text);

CREATE INDEX hook_delivery_latest ON public.hook_delivery USING btree (hook_id, attempted_at DESC);

CREATE INDEX hook_due ON public.hook USING btree (next_at) WHERE (enabled AND (mode = 'tell'::text) AND (wanted > "position"));

CREATE UNIQUE INDEX hook_name ON public.hook USING btree (name) WHERE ((organization_id IS NULL) AND (project_id IS NULL));

CREATE INDEX hook_organization ON public.hook USING btree (organization_id) WHERE (organization_id IS NOT NULL);

CREATE INDEX hook_project ON public.hook USING btree (project_id) WHERE (project_id IS NOT NULL);

CREATE INDEX hook_question_due ON public.hook_question USING btree (next_at) WHERE (state = 'open'::text);

CREATE INDEX hook_question_latest ON public.hook_question USING btree (hook_id, asked_at DESC);

CREATE INDEX hook_question_machine ON public.hook_question USING btree (machine_id, asked_at DESC);

CREATE INDEX image_install_of_release ON public.image_install USING btree (slug, release, started_at);

CREATE INDEX invitation_by_organization ON public.invitation USING btree (organization_id) WHERE (organization_id IS NOT NULL);

CREATE INDEX invitation_by_project ON public.invitation USING btree (project_id) WHERE (project_id IS NOT NULL);

CREATE UNIQUE INDEX invitation_once ON public.invitation USING btree (lower(email), COALESCE(organization_id, project_id));

CREATE INDEX ip_label_to_end ON public.ip_label USING btree (id) WHERE (released_at IS NOT NULL);

CREATE INDEX leaf_plan_of_leaf ON public.leaf_plan USING btree (leaf_id, planned_at);

CREATE INDEX leaf_port_booted ON public.leaf_port USING btree (booted_mac) WHERE (booted_mac IS NOT NULL);

CREATE INDEX machine_in_pool ON public.machine USING btree (facility_id, plan_id, state_since) WHERE ((state = 'ready'::text) AND (reservation_id IS NULL));

CREATE UNIQUE INDEX machine_mac ON public.machine USING btree (mac) WHERE (state <> 'retired'::text);

CREATE UNIQUE INDEX machine_name ON public.machine USING btree (name) WHERE (state <> 'retired'::text);

CREATE INDEX membership_by_organization ON public.membership USING btree (organization_id) WHERE (organization_id IS NOT NULL);

CREATE INDEX membership_by_project ON public.membership USING btree (project_id) WHERE (project_id IS NOT NULL);

CREATE UNIQUE INDEX membership_once ON public.membership USING btree (user_id, COALESCE(organization_id, project_id));

CREATE UNIQUE INDEX native_install_open ON public.native_install USING btree (machine_id) WHERE (state = ANY (ARRAY['offered'::text, 'started'::text]));

CREATE INDEX prefix_by_organization ON public.prefix USING btree (organization_id) WHERE (organization_id IS NOT NULL);

CREATE INDEX prefix_by_parent ON public.prefix USING btree (parent_id);

CREATE INDEX prefix_by_project ON public.prefix USING btree (project_id) WHERE (project_id IS NOT NULL);

CREATE INDEX prefix_grant_by_organization ON public.prefix_grant USING btree (organization_id) WHERE (revoked_at IS NULL);

CREATE INDEX prefix_grant_by_prefix ON public.prefix_grant USING btree (prefix_id, granted_at);

CREATE INDEX prefix_grant_by_project ON public.prefix_grant USING btree (project_id) WHERE (revoked_at IS NULL);

CREATE INDEX prefix_grant_by_user ON public.prefix_grant USING btree (user_id) WHERE (revoked_at IS NULL);

CREATE UNIQUE INDEX prefix_grant_once ON public.prefix_grant USING btree (prefix_id, "right", COALESCE(organization_id, project_id, user_id)) WHERE (revoked_at IS NULL);

CREATE INDEX project_by_organization ON public.project USING btree (organization_id, created_at) WHERE (deleted_at IS NULL);

CREATE INDEX ptr_by_address ON public.ptr USING gist (address inet_ops);

CREATE UNIQUE INDEX quota_once ON public.quota USING btree (COALESCE(organization_id, project_id));

CREATE UNIQUE INDEX reservation_holding_now ON public.reservation_holding USING btree (reservation_id) WHERE (until IS NULL);

CREATE INDEX reservation_holding_of_project ON public.reservation_holding USING btree (project_id, since);

CREATE INDEX rma_by_machine ON public.rma USING btree (machine_id, opened_at DESC);

CREATE UNIQUE INDEX rma_open ON public.rma USING btree (machine_id) WHERE (closed_at IS NULL);

CREATE UNIQUE INDEX rollout_one_per_slug ON public.rollout USING btree (slug) WHERE (state = 'running'::text);

CREATE INDEX run_by_subject ON public.run USING btree (subject, created_at DESC);

CREATE INDEX run_done ON public.run USING btree (workflow, finished_at DESC) WHERE (state = 'done'::text);

CREATE INDEX run_due ON public.run USING btree (wake_at) WHERE (finished_at IS NULL);

CREATE UNIQUE INDEX run_one_per_subject ON public.run USING btree (subject) WHERE (finished_at IS NULL);

CREATE INDEX spot_market_request_of_project ON public.spot_market_request USING btree (project_id, created_at DESC);

CREATE INDEX spot_market_request_open ON public.spot_market_request USING btree (created_at) WHERE (ended_at IS NULL);

CREATE UNIQUE INDEX ssh_key_once ON public.ssh_key USING btree (COALESCE(user_id, project_id), fingerprint);

CREATE INDEX tenure_beside ON public.tenure USING btree (block) WHERE ((kind = 'anycast'::text) OR (corrected_at IS NOT NULL));

CREATE INDEX tenure_by_prefix ON public.tenure USING btree (prefix_id) WHERE (upper_inf(during) AND (corrected_at IS NULL));

CREATE INDEX tenure_ended ON public.tenure USING btree (upper(during)) WHERE ((NOT upper_inf(during)) AND (corrected_at IS NULL));

CREATE INDEX tenure_of_elastic ON public.tenure USING btree (owner) WHERE ((kind = 'held'::text) AND (slot ~~ 'elastic %'::text));

CREATE UNIQUE INDEX tenure_slot ON public.tenure USING btree (owner, slot) WHERE (upper_inf(during) AND (corrected_at IS NULL));

CREATE INDEX tenure_within ON public.tenure USING btree (within) WHERE (within IS NOT NULL);

CREATE INDEX traffic_sample_old ON public.traffic_sample USING brin (at);

CREATE UNIQUE INDEX user_account_email ON public.user_account USING btree (lower(email));

ALTER TABLE ONLY public.abuse_tag
    ADD CONSTRAINT abuse_tag_vrf_id_fkey FOREIGN KEY (vrf_id) REFERENCES public.vrf(id);

ALTER TABLE ONLY public.agent_session
    ADD CONSTRAINT agent_session_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id);

ALTER TABLE ONLY public.agent_work
    ADD CONSTRAINT agent_work_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id);

ALTER TABLE ONLY public.agent_work
    ADD CONSTRAINT agent_work_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.run(id);

ALTER TABLE ONLY public.api_token
    ADD CONSTRAINT api_token_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.api_token
    ADD CONSTRAINT api_token_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_account(id);

ALTER TABLE ONLY public.asn_tenure
    ADD CONSTRAINT asn_tenure_pool FOREIGN KEY (pool_id, pool_first, pool_last) REFERENCES public.asn_pool(id, first, last);

ALTER TABLE ONLY public.batch_device
    ADD CONSTRAINT batch_device_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.device_batch(id);

ALTER TABLE ONLY public.bgp_config
    ADD CONSTRAINT bgp_config_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.bgp_session
    ADD CONSTRAINT bgp_session_device_id_fkey FOREIGN KEY (device_id) REFERENCES public.device(id);

ALTER TABLE ONLY public.bmc_access
    ADD CONSTRAINT bmc_access_facility_id_fkey FOREIGN KEY (facility_id) REFERENCES public.facility(id);

ALTER TABLE ONLY public.bmc_access
    ADD CONSTRAINT bmc_access_port_id_fkey FOREIGN KEY (port_id) REFERENCES public.leaf_port(id);

ALTER TABLE ONLY public.console_lease
    ADD CONSTRAINT console_lease_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.console_session
    ADD CONSTRAINT console_session_device_id_fkey FOREIGN KEY (device_id) REFERENCES public.device(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.console_session
    ADD CONSTRAINT console_session_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.console_session
    ADD CONSTRAINT console_session_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_account(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.device_batch
    ADD CONSTRAINT device_batch_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.user_account(id);

ALTER TABLE ONLY public.device_batch
    ADD CONSTRAINT device_batch_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.user_account(id);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_facility_id_fkey FOREIGN KEY (facility_id) REFERENCES public.facility(id);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_operating_system_fkey FOREIGN KEY (operating_system) REFERENCES public.operating_system(slug);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES public.plan(id);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_reservation_id_fkey FOREIGN KEY (reservation_id) REFERENCES public.hardware_reservation(id);

ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_spot_request_id_fkey FOREIGN KEY (spot_request_id) REFERENCES public.spot_market_request(id);

ALTER TABLE ONLY public.discovery
    ADD CONSTRAINT discovery_port_id_fkey FOREIGN KEY (port_id) REFERENCES public.leaf_port(id);

ALTER TABLE ONLY public.erase_certificate
    ADD CONSTRAINT erase_certificate_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id);

ALTER TABLE ONLY public.facility_event
    ADD CONSTRAINT facility_event_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.facility
    ADD CONSTRAINT facility_metro_id_fkey FOREIGN KEY (metro_id) REFERENCES public.metro(id);

ALTER TABLE ONLY public.facility_secret
    ADD CONSTRAINT facility_secret_facility_id_fkey FOREIGN KEY (facility_id) REFERENCES public.facility(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.free_asn
    ADD CONSTRAINT free_asn_pool_id_fkey FOREIGN KEY (pool_id) REFERENCES public.asn_pool(id);

ALTER TABLE ONLY public.free_block
    ADD CONSTRAINT free_block_prefix_id_fkey FOREIGN KEY (prefix_id) REFERENCES public.prefix(id);

ALTER TABLE ONLY public.handover_rule
    ADD CONSTRAINT handover_rule_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES public.plan(id);

ALTER TABLE ONLY public.hardware_reservation
    ADD CONSTRAINT hardware_reservation_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id);

ALTER TABLE ONLY public.hook_delivery
    ADD CONSTRAINT hook_delivery_event_id_fkey FOREIGN KEY (event_id) REFERENCES public.event(id);

ALTER TABLE ONLY public.hook_delivery
    ADD CONSTRAINT hook_delivery_hook_id_fkey FOREIGN KEY (hook_id) REFERENCES public.hook(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.hook
    ADD CONSTRAINT hook_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

ALTER TABLE ONLY public.hook
    ADD CONSTRAINT hook_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.hook_question
    ADD CONSTRAINT hook_question_hook_id_fkey FOREIGN KEY (hook_id) REFERENCES public.hook(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.hook_question
    ADD CONSTRAINT hook_question_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.image_install
    ADD CONSTRAINT image_install_device_id_fkey FOREIGN KEY (device_id) REFERENCES public.device(id);

ALTER TABLE ONLY public.image_install
    ADD CONSTRAINT image_install_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id);

ALTER TABLE ONLY public.image_install
    ADD CONSTRAINT image_install_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.run(id);

ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT invitation_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES public.user_account(id);

ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT invitation_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT invitation_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.ip_label
    ADD CONSTRAINT ip_label_id_fkey FOREIGN KEY (id) REFERENCES public.tenure(id);

ALTER TABLE ONLY public.leaf_exemption
    ADD CONSTRAINT leaf_exemption_leaf_id_fkey FOREIGN KEY (leaf_id) REFERENCES public.leaf(id);

ALTER TABLE ONLY public.leaf
    ADD CONSTRAINT leaf_facility_id_fkey FOREIGN KEY (facility_id) REFERENCES public.facility(id);

ALTER TABLE ONLY public.leaf_plan
    ADD CONSTRAINT leaf_plan_leaf_id_fkey FOREIGN KEY (leaf_id) REFERENCES public.leaf(id);

ALTER TABLE ONLY public.leaf_port
    ADD CONSTRAINT leaf_port_device FOREIGN KEY (device_id) REFERENCES public.device(id);

ALTER TABLE ONLY public.leaf_port
    ADD CONSTRAINT leaf_port_leaf_id_fkey FOREIGN KEY (leaf_id) REFERENCES public.leaf(id);

ALTER TABLE ONLY public.leaf_port
    ADD CONSTRAINT leaf_port_rack_id_fkey FOREIGN KEY (rack_id) REFERENCES public.rack(id);

ALTER TABLE ONLY public.leaf
    ADD CONSTRAINT leaf_rack_id_fkey FOREIGN KEY (rack_id) REFERENCES public.rack(id);

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_device FOREIGN KEY (device_id) REFERENCES public.device(id);

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_facility_id_fkey FOREIGN KEY (facility_id) REFERENCES public.facility(id);

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES public.plan(id);

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_port_id_fkey FOREIGN KEY (port_id) REFERENCES public.leaf_port(id);

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_rack_id_fkey FOREIGN KEY (rack_id) REFERENCES public.rack(id);

ALTER TABLE ONLY public.machine
    ADD CONSTRAINT machine_reservation_id_fkey FOREIGN KEY (reservation_id) REFERENCES public.hardware_reservation(id);

ALTER TABLE ONLY public.membership
    ADD CONSTRAINT membership_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

ALTER TABLE ONLY public.membership
    ADD CONSTRAINT membership_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.membership
    ADD CONSTRAINT membership_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_account(id);

ALTER TABLE ONLY public.native_install
    ADD CONSTRAINT native_install_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id);

ALTER TABLE ONLY public.native_install
    ADD CONSTRAINT native_install_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.run(id);

ALTER TABLE ONLY public.plan_price
    ADD CONSTRAINT plan_price_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES public.plan(id);

ALTER TABLE ONLY public.prefix_grant
    ADD CONSTRAINT prefix_grant_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

ALTER TABLE ONLY public.prefix_grant
    ADD CONSTRAINT prefix_grant_prefix_id_fkey FOREIGN KEY (prefix_id) REFERENCES public.prefix(id);

ALTER TABLE ONLY public.prefix_grant
    ADD CONSTRAINT prefix_grant_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.prefix_grant
    ADD CONSTRAINT prefix_grant_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_account(id);

ALTER TABLE ONLY public.prefix
    ADD CONSTRAINT prefix_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

ALTER TABLE ONLY public.prefix
    ADD CONSTRAINT prefix_parent_is_container FOREIGN KEY (parent_id, parent_cidr, parent_role) REFERENCES public.prefix(id, cidr, role);

ALTER TABLE ONLY public.prefix
    ADD CONSTRAINT prefix_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.prefix
    ADD CONSTRAINT prefix_vrf_id_fkey FOREIGN KEY (vrf_id) REFERENCES public.vrf(id);

ALTER TABLE ONLY public.project
    ADD CONSTRAINT project_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.user_account(id);

ALTER TABLE ONLY public.project
    ADD CONSTRAINT project_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

ALTER TABLE ONLY public.ptr
    ADD CONSTRAINT ptr_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.ptr
    ADD CONSTRAINT ptr_vrf_id_fkey FOREIGN KEY (vrf_id) REFERENCES public.vrf(id);

ALTER TABLE ONLY public.quota
    ADD CONSTRAINT quota_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);

ALTER TABLE ONLY public.quota
    ADD CONSTRAINT quota_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.rack
    ADD CONSTRAINT rack_facility_id_fkey FOREIGN KEY (facility_id) REFERENCES public.facility(id);

ALTER TABLE ONLY public.reservation_holding
    ADD CONSTRAINT reservation_holding_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.reservation_holding
    ADD CONSTRAINT reservation_holding_reservation_id_fkey FOREIGN KEY (reservation_id) REFERENCES public.hardware_reservation(id);

ALTER TABLE ONLY public.rma
    ADD CONSTRAINT rma_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machine(id);

ALTER TABLE ONLY public.rollout
    ADD CONSTRAINT rollout_slug_fkey FOREIGN KEY (slug) REFERENCES public.operating_system(slug);

ALTER TABLE ONLY public.route_withdrawal
    ADD CONSTRAINT route_withdrawal_port_id_fkey FOREIGN KEY (port_id) REFERENCES public.leaf_port(id);

ALTER TABLE ONLY public.route_withdrawal
    ADD CONSTRAINT route_withdrawal_vrf_id_fkey FOREIGN KEY (vrf_id) REFERENCES public.vrf(id);

ALTER TABLE ONLY public.run_step
    ADD CONSTRAINT run_step_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.run(id);

ALTER TABLE ONLY public.spot_market_request
    ADD CONSTRAINT spot_market_request_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.user_account(id);

ALTER TABLE ONLY public.spot_market_request
    ADD CONSTRAINT spot_market_request_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.spot_price
    ADD CONSTRAINT spot_price_facility_id_fkey FOREIGN KEY (facility_id) REFERENCES public.facility(id);

ALTER TABLE ONLY public.spot_price
    ADD CONSTRAINT spot_price_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES public.plan(id);

ALTER TABLE ONLY public.ssh_key
    ADD CONSTRAINT ssh_key_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(id);

ALTER TABLE ONLY public.ssh_key
    ADD CONSTRAINT ssh_key_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_account(id);

ALTER TABLE ONLY public.tenure
    ADD CONSTRAINT tenure_corrected_as_fkey FOREIGN KEY (corrected_as) REFERENCES public.tenure(id);

ALTER TABLE ONLY public.tenure
    ADD CONSTRAINT tenure_prefix FOREIGN KEY (prefix_id, vrf_id, prefix_cidr) REFERENCES public.prefix(id, vrf_id, cidr);

ALTER TABLE ONLY public.tenure
    ADD CONSTRAINT tenure_within_fkey FOREIGN KEY (within) REFERENCES public.tenure(id);

ALTER TABLE ONLY public.traffic_sample
    ADD CONSTRAINT traffic_sample_device_id_fkey FOREIGN KEY (device_id) REFERENCES public.device(id);

ALTER TABLE ONLY public.traffic_sample
    ADD CONSTRAINT traffic_sample_port_id_fkey FOREIGN KEY (port_id) REFERENCES public.leaf_port(id);

ALTER TABLE ONLY public.user_account
    ADD CONSTRAINT user_account_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organization(id);
