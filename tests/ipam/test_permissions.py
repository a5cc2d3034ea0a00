"""Rights on the tree: what the database answers is what a plain model of the rules answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.permissions import (
    RIGHTS,
    GranteeKind,
    NoGrant,
    NoGrantee,
    NotAllowed,
    Right,
    Subject,
    explain,
    grant,
    grants_on,
    require,
    revoke,
    subject_named,
    visible,
)
from service.store.rows import Connection, Pool

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NONE: frozenset[UUID] = frozenset()
STAFF = Subject(None, NONE, NONE, staff=True)


Owner: TypeAlias = tuple[GranteeKind, int]
Claim: TypeAlias = tuple[int, Right, GranteeKind, UUID]  # where, what, and for whom


@dataclass(frozen=True, slots=True)
class People:
    """Two organizations, each with two users and two projects."""

    organizations: list[UUID]
    users: list[UUID]
    projects: list[UUID]

    def id(self, kind: GranteeKind, number: int) -> UUID:
        """The id of an organization, project or user."""
        among = {"organization": self.organizations, "project": self.projects, "user": self.users}[kind]
        return among[number % len(among)]

    def user(self, number: int) -> Subject:
        """A user as the one who asks."""
        return Subject(self.users[number], NONE, frozenset({self.organizations[number // 2]}), staff=False)

    def project(self, number: int) -> Subject:
        """A project's token as the one who asks."""
        return Subject(None, frozenset({self.projects[number]}), NONE, staff=False)

    def subjects(self) -> list[Subject]:
        """Everybody who may ask."""
        organizations = [Subject(None, NONE, frozenset({id_}), staff=False) for id_ in self.organizations]
        return [STAFF, *map(self.user, range(4)), *map(self.project, range(4)), *organizations]

    async def delete_last_projects(self, conn: Connection) -> None:
        """The second project of each organization is deleted."""
        await conn.execute("UPDATE project SET deleted_at = $2 WHERE id = ANY($1)", self.projects[1::2], NOW)

    def serves(self, subject: Subject, claim: Claim) -> bool:
        """The rule in plain words, for a time at which the last projects are deleted."""
        _, _, kind, id_ = claim
        if kind == "project":
            number = self.projects.index(id_)
            alive, home = number % 2 == 0, self.organizations[number // 2]
            return alive and (id_ in subject.project_ids or home in subject.organization_ids)
        return id_ == subject.user_id if kind == "user" else id_ in subject.organization_ids


async def make_people(conn: Connection) -> People:
    organizations, users, projects = [], [], []
    for name in ("Acme", "Globex"):
        home = await conn.fetchval("INSERT INTO organization (name) VALUES ($1) RETURNING id", name)
        organizations.append(home)
        for number in range(2):
            statement = "INSERT INTO user_account (organization_id, email) VALUES ($1, $2) RETURNING id"
            users.append(await conn.fetchval(statement, home, f"{uuid4()}@example.org"))
            statement = "INSERT INTO membership (user_id, organization_id, roles) VALUES ($1, $2, '{owner}')"
            await conn.execute(statement, users[-1], home)
            statement = "INSERT INTO project (organization_id, name) VALUES ($1, $2) RETURNING id"
            projects.append(await conn.fetchval(statement, home, f"{name} {number}"))
    return People(organizations, users, projects)


async def make_node(
    conn: Connection, vrf: int, parent: int | None, cidr: str, owner: tuple[GranteeKind, UUID] | None = None
) -> int:
    kind, id_ = owner or (None, None)
    node = await conn.fetchval(
        """INSERT INTO prefix (vrf_id, parent_id, parent_cidr, parent_role, cidr, role, block_length,
                               organization_id, project_id)
           SELECT $1, parent.id, parent.cidr, parent.role, $3::text::cidr, 'container', masklen($3::text::cidr), $4, $5
           FROM (SELECT 1) AS always LEFT JOIN prefix AS parent ON parent.id = $2 RETURNING id""",
        vrf,
        parent,
        cidr,
        id_ if kind == "organization" else None,
        id_ if kind == "project" else None,
    )
    return int(node)


async def make_vrf(conn: Connection) -> int:
    return int(await conn.fetchval("INSERT INTO vrf (name) VALUES ($1) RETURNING id", str(uuid4())))


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that gives a right, or takes one away again."""

    node: int
    right: Right
    kind: GranteeKind
    number: int
    revoked: bool


# A node is told by its parent's place in the list, and by its owner.
parents = st.lists(st.integers(-1, 8), min_size=1, max_size=9)
owners = st.lists(
    st.none() | st.tuples(st.sampled_from(["organization", "project"]), st.integers(0, 3)), min_size=9, max_size=9
)
deeds = st.lists(
    st.builds(
        Deed,
        node=st.integers(0, 8),
        right=st.sampled_from(RIGHTS),
        kind=st.sampled_from(["organization", "project", "user"]),
        number=st.integers(0, 3),
        revoked=st.booleans(),
    ),
    max_size=12,
)


async def is_allowed(conn: Connection, subject: Subject, node: int, right: Right) -> bool:
    try:
        await require(conn, subject, node, right)
    except NotAllowed:
        return False
    return True


@settings(max_examples=40)
@given(parents=parents, owners=owners, deeds=deeds)
async def test_the_database_decides_as_the_rules_say(
    db: Pool, parents: list[int], owners: list[Owner | None], deeds: list[Deed]
) -> None:
    async with db.acquire() as conn:
        people, vrf = await make_people(conn), await make_vrf(conn)
        paths: list[list[int]] = []
        nodes: list[int] = []
        cidrs: list[str] = []
        owned: list[Claim] = []
        for place, wish in enumerate(parents):
            parent = wish if 0 <= wish < place else None
            around = "2001:db8::/32" if parent is None else cidrs[parent]
            cidr = next(net for one in ip_network(around).subnets(4) if (net := str(one)) not in cidrs)
            owner = None if (wished := owners[place]) is None else (wished[0], people.id(*wished))
            nodes.append(await make_node(conn, vrf, None if parent is None else nodes[parent], cidr, owner))
            paths.append([place] if parent is None else [place, *paths[parent]])
            cidrs.append(cidr)
            if owner is not None:
                owned.append((place, "manage", *owner))
        granted: set[Claim] = set()
        for deed in deeds:
            place, id_ = deed.node % len(nodes), people.id(deed.kind, deed.number)
            made = await grant(conn, STAFF, nodes[place], deed.right, deed.kind, id_, by="user:x", now=NOW)
            granted.add((place, deed.right, deed.kind, id_))
            if deed.revoked:
                await revoke(conn, STAFF, nodes[place], made.id, by="user:x", now=NOW)
                granted.discard((place, deed.right, deed.kind, id_))
        await people.delete_last_projects(conn)

        for subject in people.subjects():
            serving = [claim for claim in (*owned, *granted) if people.serves(subject, claim)]
            seen = set()
            for node, path in zip(nodes, paths, strict=True):
                rights = [right for where, right, _, _ in serving if where in path]
                expected = "manage" if subject.staff else max(rights, key=RIGHTS.index, default=None)
                found = await explain(conn, subject, node)
                assert found.right == expected
                assert found.sentences()[0].startswith(f"{expected or 'nothing'}: ")
                for right in RIGHTS:
                    allowed = expected is not None and RIGHTS.index(right) <= RIGHTS.index(expected)
                    assert await is_allowed(conn, subject, node, right) is allowed
                if expected is not None:
                    seen.add(node)
            assert await visible(conn, subject) == (None if subject.staff else seen)


@dataclass(frozen=True, slots=True)
class Place:
    """A container, a node in it, and people."""

    people: People
    root: int
    node: int


async def make_place(conn: Connection) -> Place:
    people, vrf = await make_people(conn), await make_vrf(conn)
    root = await make_node(conn, vrf, None, "10.0.0.0/8")
    return Place(people, root, await make_node(conn, vrf, root, "10.1.0.0/16"))


async def test_reasons_are_sentences(db: Pool) -> None:
    async with db.acquire() as conn:
        place = await make_place(conn)
        acme, user = place.people.organizations[0], place.people.user(0)
        assert (await explain(conn, user, place.node)).sentences() == ["nothing: no grant on 10.1.0.0/16 or above"]
        assert (await explain(conn, STAFF, place.node)).sentences() == ["manage: staff may do everything"]
        assert (await explain(conn, STAFF, 10**6)).sentences() == ["nothing: there is no such prefix"]
        await grant(conn, STAFF, place.root, "assign", "organization", acme, by="user:ops", now=NOW)
        await conn.execute("UPDATE prefix SET organization_id = $2 WHERE id = $1", place.node, acme)
        assert (await explain(conn, user, place.node)).sentences() == [
            "manage: organization Acme is the owner of 10.1.0.0/16",
            "assign: allowed by a grant to organization Acme on 10.0.0.0/8"
            " (granted by user ops at 2026-03-01T12:00:00Z)",
        ]


async def test_a_grant_is_given_once_and_stays_in_the_history(db: Pool) -> None:
    async with db.acquire() as conn:
        place = await make_place(conn)
        user = place.people.users[0]

        async def once(at: datetime = NOW) -> UUID:
            async with db.acquire() as mine, mine.transaction():
                return (await grant(mine, STAFF, place.node, "view", "user", user, by="user:ops", now=at)).id

        ids = set(await asyncio.gather(*(once() for _ in range(6))))
        assert len(ids) == 1
        (first,) = ids
        later = NOW + timedelta(hours=1)
        for at in (later, later + timedelta(hours=1)):
            ended = await revoke(conn, STAFF, place.node, first, by="user:boss", now=at)
            assert (ended.revoked_by, ended.revoked_at) == ("user:boss", later)
        second = await once(later)
        assert second != first
        assert [one.id for one in await grants_on(conn, STAFF, place.node, revoked_too=False)] == [second]
        assert [one.id for one in await grants_on(conn, STAFF, place.node, revoked_too=True)] == [first, second]
        with pytest.raises(NoGrant):
            await revoke(conn, STAFF, place.root, first, by="user:boss", now=later)


async def test_customers_grant_within_their_organization_alone(db: Pool) -> None:
    async with db.acquire() as conn:
        place = await make_place(conn)
        people, manager = place.people, place.people.user(0)

        async def give(subject: Subject, kind: GranteeKind, id_: UUID, node: int = place.node) -> UUID:
            async with conn.transaction():
                return (await grant(conn, subject, node, "assign", kind, id_, by="user:x", now=NOW)).id

        with pytest.raises(NotAllowed) as refused:
            await give(manager, "user", people.users[1])
        assert not refused.value.visible
        await give(STAFF, "user", people.users[0])
        with pytest.raises(NotAllowed, match=r"manage is needed on 10\.1\.0\.0/16, and you may only assign") as refused:
            await give(manager, "user", people.users[1])
        assert refused.value.visible
        await conn.execute("UPDATE prefix SET organization_id = $2 WHERE id = $1", place.node, people.organizations[0])
        foreign = await give(STAFF, "organization", people.organizations[1])
        own = {
            await give(manager, "user", people.users[1]),
            await give(manager, "project", people.projects[0]),
            await give(manager, "organization", people.organizations[0]),
        }
        strangers: list[tuple[GranteeKind, UUID]] = [
            ("user", people.users[2]),
            ("project", people.projects[2]),
            ("organization", people.organizations[1]),
            ("user", uuid4()),
        ]
        for kind, id_ in strangers:
            with pytest.raises(NoGrantee, match=f"{kind} {id_} is none of yours"):
                await give(manager, kind, id_)
        with pytest.raises(NotAllowed):
            await give(manager, "user", people.users[1], place.root)
        seen = {one.id for one in await grants_on(conn, manager, place.node, revoked_too=True)}
        assert seen > own and foreign not in seen
        with pytest.raises(NoGrant):
            await revoke(conn, manager, place.node, foreign, by="user:x", now=NOW)
        await give(STAFF, "project", people.projects[0])
        token = people.project(0)
        await grant(conn, STAFF, place.node, "manage", "project", people.projects[0], by="user:x", now=NOW)
        with pytest.raises(NoGrantee):
            await give(token, "user", people.users[0])
        assert {one.kind for one in await grants_on(conn, token, place.node, revoked_too=False)} == {"project"}


async def test_a_customer_asks_about_himself_alone(db: Pool) -> None:
    async with db.acquire() as conn:
        people = await make_people(conn)
        user, token = people.user(0), people.project(0)
        questions: list[tuple[GranteeKind, UUID]] = [
            *(("user", id_) for id_ in people.users),
            *(("project", id_) for id_ in people.projects),
            *(("organization", id_) for id_ in people.organizations),
        ]
        for asking, mine in (
            (user, {people.users[0], people.projects[0], people.projects[1], people.organizations[0]}),
            (token, {people.projects[0]}),
        ):
            for kind, id_ in questions:
                if id_ in mine:
                    about = await subject_named(conn, asking, kind, id_)
                    theirs = NONE if kind == "project" else frozenset(people.organizations[:1])
                    assert about.organization_ids == theirs
                    assert about.project_ids == (frozenset({id_}) if kind == "project" else NONE)
                else:
                    with pytest.raises(NotAllowed):
                        await subject_named(conn, asking, kind, id_)
        assert await subject_named(conn, STAFF, "user", people.users[3]) == people.user(3)
        with pytest.raises(NoGrantee):
            await subject_named(conn, STAFF, "user", uuid4())


async def test_the_database_refuses_a_grant_to_nobody_or_to_two(db: Pool) -> None:
    async with db.acquire() as conn:
        place = await make_place(conn)
        statement = (
            'INSERT INTO prefix_grant (id, prefix_id, "right", organization_id, user_id, granted_by, granted_at)'
            " VALUES (gen_random_uuid(), $1, 'view', $2, $3, 'user:x', now())"
        )
        for organization, user in ((None, None), (place.people.organizations[0], place.people.users[0])):
            with pytest.raises(asyncpg.CheckViolationError, match="prefix_grant_names_one"):
                await conn.execute(statement, place.node, organization, user)
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await conn.execute(statement, place.node, uuid4(), None)
