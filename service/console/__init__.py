"""The operators' console: server-rendered pages that keep themselves up to date."""
