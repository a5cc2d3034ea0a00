"""Fixtures of the boot decision's tests."""

from tests.service.conftest import world as world
