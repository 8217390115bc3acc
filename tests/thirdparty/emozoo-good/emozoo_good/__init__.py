"""A plugin as it should be: an aggregator, a cost, and a model of both."""
