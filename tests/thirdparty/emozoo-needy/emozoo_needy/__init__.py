"""A plugin that needs a distribution that is not installed."""

import emozoo_no_such_distribution


class Cost(emozoo_no_such_distribution.Base):
    """It cannot even be defined."""
