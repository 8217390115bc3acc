"""emozoo: a plugin-based zoo of facial-emotion models.

Importing this package imports neither torch nor any plugin; each public name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emozoo.errors import EmozooError

__version__ = "0.1.0"

if TYPE_CHECKING:
    from emozoo.model import EmotionModel, create
    from emozoo.prediction.predictions import Prediction
    from emozoo.publish import push
    from emozoo.recipe import Recipe, load_recipe
    from emozoo.zoo import list_models, load

_HOMES = {
    "EmotionModel": "emozoo.model",
    "Prediction": "emozoo.prediction.predictions",
    "Recipe": "emozoo.recipe",
    "create": "emozoo.model",
    "list_models": "emozoo.zoo",
    "load": "emozoo.zoo",
    "load_recipe": "emozoo.recipe",
    "push": "emozoo.publish",
}

__all__ = [
    "EmotionModel",
    "EmozooError",
    "Prediction",
    "Recipe",
    "__version__",
    "create",
    "list_models",
    "load",
    "load_recipe",
    "push",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'emozoo' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
