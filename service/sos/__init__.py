"""Serial consoles over SSH: a customer's device by its keys, any machine by a staff user's."""
