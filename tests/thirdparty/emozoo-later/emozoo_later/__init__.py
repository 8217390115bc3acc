"""A plugin for an emozoo that is not here yet."""


class Aggregator:
    """Nothing that this emozoo could use."""

    __emozoo_api__ = 1
