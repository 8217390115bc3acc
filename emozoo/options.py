"""Options of components: read from a constructor's annotations, checked, and turned into JSON values."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, get_args

from emozoo.contracts import Nested
from emozoo.errors import PluginLoadError, RecipeError
from emozoo.trees import explain, keys_at, plain


def check_options(function: Callable[..., Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check options against the annotated keyword-only parameters of a callable; fill in defaults.

    Raises:
        RecipeError: lists every option that is unknown, missing or of the wrong type, with its path.
        PluginLoadError: the parameters' annotations cannot be used, or one is called as a key of the table around.
    """
    from pydantic import ValidationError

    from emozoo.recipe import Recipe

    schema, values = options_schema(function), plain(options, where)
    beside = keys_at(Recipe, where.split("."))
    if hidden := [name for name in option_names(function) if name in (beside or ["name"])]:
        raise PluginLoadError(
            f"{where}: {_called(function)} has the option {', '.join(map(repr, hidden))}, which is a key of the table "
            "that it stands in, so that no recipe can set it: call the option otherwise"
        )
    try:
        checked = schema.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        problems = explain(error, schema, where, values, beside)
        raise RecipeError(f"wrong options of {where}:\n{problems}") from None
    return {field.alias: getattr(checked, name) for name, field in schema.model_fields.items()}


def option_names(function: Callable[..., Any]) -> list[str]:
    """Return the names of a component's options."""
    return keys_at(options_schema(function), ())


def nested_kinds(function: Callable[..., Any]) -> dict[str, str]:
    """Return the kinds of those options of a component that are components themselves."""
    fields = options_schema(function).model_fields.values()
    marks = {field.alias: [*field.metadata, *_arguments(field.annotation)] for field in fields}
    return {name: mark.kind for name, found in marks.items() for mark in found if isinstance(mark, Nested)}


def _arguments(annotation: Any) -> Iterator[Any]:
    """Yield all that an annotation is made of, at any depth: a mark may stand inside `Annotated[...] | None`."""
    for argument in get_args(annotation):
        yield argument
        yield from _arguments(argument)


def plain_options(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return checked options as JSON values.

    Raises:
        PluginLoadError: a default value of the component is none.
    """
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:  # infinities stay themselves, for `plain` to refuse: as null they would be read back as None
        return plain(to_jsonable_python(dict(options), inf_nan_mode="constants"), where)
    except (PydanticSerializationError, RecipeError) as error:
        raise PluginLoadError(
            f"{where}: an option's default cannot be saved as JSON: {error}. Give the option another value, or "
            "tell the plugin's author (docs/plugins.md)"
        ) from error


@functools.cache
def options_schema(function: Callable[..., Any]) -> Any:
    """Return a pydantic model of a callable's keyword-only parameters, its defaults and types.

    The fields go by aliases, so that an option may have any name.
    """
    from pydantic import ConfigDict, Field, create_model

    try:
        target: Any = function.__init__ if inspect.isclass(function) else function
        options = {
            name: parameter
            for name, parameter in inspect.signature(target).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        hints = _hints(target, options)
        fields: dict[str, Any] = {
            f"option_{name}": (hints[name], Field(... if p.default is p.empty else p.default, alias=name))
            for name, p in options.items()
        }
        return create_model("Options", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)
    except Exception as error:  # pydantic and typing raise what they like over annotations
        raise PluginLoadError(
            f"the options of {_called(function)} cannot be read: {type(error).__name__}: {error}. Its author gives "
            "every keyword-only parameter a type (docs/plugins.md)"
        ) from error


def _called(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def _hints(target: Any, options: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Evaluate the annotations of the options alone: others may name what only a type checker imports."""
    from typing import get_type_hints

    bare = [name for name, parameter in options.items() if parameter.annotation is parameter.empty]
    if bare:
        raise TypeError(f"no annotation for {', '.join(bare)}")
    holder = SimpleNamespace(
        __annotations__={name: parameter.annotation for name, parameter in options.items()}
    )
    names = getattr(inspect.unwrap(target), "__globals__", {})
    return get_type_hints(holder, names, include_extras=True)
