"""The pages of hooks: who is told and asked, what did not arrive, who vetoed what, and what the facility has told."""

from __future__ import annotations

from service.console.acts import form_token
from service.console.look import Look, Page
from service.store.hooks import Owner, deliveries_of, hook_of, hooks_of, questions_seen
from sql.loader import Q

_QUESTIONS = 50
_DEAD = 20  # of each hook
_DELIVERIES = 100
_WEBHOOKS = 200
_TOLD = 20  # of facility systems


def _said(look: Look) -> Page:
    """What a form's act came to, and what the next form carries."""
    return {"said": look.request.query.get("said", "")[:300], "token": form_token(look.request)}


async def hook_list(look: Look) -> Page:
    """All hooks at a glance."""
    db = look.api.db
    hooks = await hooks_of(db, Owner())
    return {
        **_said(look),
        "hooks": hooks,
        "questions": await questions_seen(db, limit=_QUESTIONS),
        "dead": [(hook, one) for hook in hooks for one in await deliveries_of(db, hook.id, state="dead", limit=_DEAD)],
        "webhooks": await db.fetch(Q["customers_hooks"], _WEBHOOKS),
        "told": await db.fetch(Q["facility_events_seen"], None, None, None, _TOLD),
    }


async def hook(look: Look) -> Page | None:
    """One hook with its deliveries or questions."""
    found = await hook_of(look.api.db, Owner(), look.request.match_info["hook"].replace("\0", ""))
    if found is None:
        return None
    return {
        **_said(look),
        "hook": found,
        "deliveries": await deliveries_of(look.api.db, found.id, limit=_DELIVERIES),
        "questions": await questions_seen(look.api.db, hook_id=found.id, limit=_QUESTIONS),
    }
