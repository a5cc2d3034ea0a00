"""Who is told what happens, and who is asked: customers' webhooks and operators' hooks."""
