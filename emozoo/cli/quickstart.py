"""`emozoo quickstart`."""


def quickstart() -> None:
    """Train, evaluate, save, load and use a small model on synthetic faces, in a few minutes, with no data."""
