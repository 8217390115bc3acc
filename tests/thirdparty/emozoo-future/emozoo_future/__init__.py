"""A plugin for the next version of the contracts."""


class Aggregator:
    """Nothing that this emozoo could use."""

    __emozoo_api__ = 2
