"""How each hardware model is handed over from the installer to the system on its disk, for operators."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from images.protocol import Handover
from service.admin import release_schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import Strict, read
from service.api.problems import Invalid, not_found, shown
from service.policy import Right
from service.store.handover import WAYS, HandoverRule, delete_rule, rules, set_rule
from sql.loader import Q

_Text = Annotated[str, Field(max_length=200)]


class HandoverEntry(Strict):
    """The rule of one model. What is left out stands for any."""

    plan: str | None = None
    vendor: _Text = ""
    product: _Text = ""
    ways: list[Handover] = Field(min_length=1)
    note: _Text = ""

    @field_validator("ways")
    @classmethod
    def _each_once(cls, ways: list[Handover]) -> list[Handover]:
        if len(set(ways)) < len(ways):
            raise ValueError("each way is named once")
        return ways


def _object(rule: HandoverRule) -> Body:
    return {
        "id": str(rule.id),
        "plan": rule.plan,
        "vendor": rule.vendor,
        "product": rule.product,
        "ways": rule.ways,
        "note": rule.note,
        "changed_at": stamp(rule.changed_at),
        "changed_by": rule.changed_by,
    }


async def list_rules(call: Call) -> Body:
    """GET /admin/v1/handover-rules: by plan, vendor and product; and what holds where no rule fits"""
    return {"handover_rules": [_object(rule) for rule in await rules(call.db)], "default": list(WAYS)}


async def make_rule(call: Call) -> Body:
    """POST /admin/v1/handover-rules: the rule of a plan, vendor and product; the one that is there is replaced"""
    entry = read(HandoverEntry, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        plan_id = None
        if entry.plan is not None:
            plan_id = await conn.fetchval(Q["plan_of_slug"], entry.plan)
            if plan_id is None:
                raise Invalid(f"plan {shown(entry.plan)} is not known")
        rule_id = await set_rule(
            conn,
            plan_id=plan_id,
            vendor=entry.vendor.strip(),
            product=entry.product.strip(),
            ways=entry.ways,
            note=entry.note,
            now=call.api.clock.now(),
            by=call.caller.actor,
        )
        return _object(next(rule for rule in await rules(conn) if rule.id == rule_id))


async def remove_rule(call: Call) -> None:
    """DELETE /admin/v1/handover-rules/{rule}: what holds where no rule fits holds again"""
    async with call.db.acquire() as conn, conn.transaction():
        if not await delete_rule(conn, call.id("rule")):
            raise not_found()


ROUTES = (
    Route("GET", "/admin/v1/handover-rules", list_rules, right=Right.LOOK, answer=release_schemas.HandoverRules),
    Route(
        "POST",
        "/admin/v1/handover-rules",
        make_rule,
        right=Right.OPERATE,
        body=HandoverEntry,
        answer=release_schemas.HandoverRule,
    ),
    Route("DELETE", "/admin/v1/handover-rules/{rule}", remove_rule, right=Right.OPERATE, status=204),
)
