"""The agent of the in-RAM installer: standard library only, steering well-known programs."""
