"""What can go wrong between us and a machine's BMC."""


class PowerError(Exception):
    """The machine's power or boot source could not be set."""


class BmcUnreachable(PowerError):
    """The BMC does not answer."""


class BmcRefused(PowerError):
    """The BMC answers, and says no."""


class BmcLoginRefused(BmcRefused):
    """The BMC knows no such user, or another password."""


class BmcLied(PowerError):
    """The BMC said yes, and what it shows says no."""


class BmcChanged(PowerError):
    """Another certificate than the one that was seen first is shown at the BMC's address."""
