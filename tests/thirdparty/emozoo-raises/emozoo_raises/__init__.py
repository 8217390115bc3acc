"""A plugin that cannot be imported."""


def _prepare() -> None:
    raise RuntimeError("this plugin is broken")


_prepare()
