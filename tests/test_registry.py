"""The registry, on distributions that the tests write to disk as an installer would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emozoo import registry
from emozoo.errors import (
    AmbiguousComponentError,
    EmozooWarning,
    PluginAPIError,
    PluginLoadError,
    RecipeError,
    UnknownComponentError,
)

Write = Callable[..., Path]

TOY = """
    from __future__ import annotations
    from typing import Annotated, Any, Literal, TYPE_CHECKING
    from pydantic import Field
    from emozoo.contracts import Nested
    if TYPE_CHECKING:
        from nowhere import Context

    class Toy:
        def __init__(
            self, in_channels: Context, *, size: Annotated[int, Field(gt=0)] = 3,
            mode: Literal["fast", "slow"] = "fast", rate: float | None = None,
            sides: tuple[int, ...] = (1, 2), table: Literal["small"] | dict[str, float] = "small",
            copy: bool = False,
        ) -> None:
            if size == 13:
                raise ValueError("13 is unlucky")
            self.given = (in_channels, size, mode, rate, sides, table, copy)

    class Needy:
        def __init__(self, in_channels: int, *, size: int) -> None:
            self.size = size

    class Family:
        def __init__(self, in_channels: int, *, member: str, depth: int = 1) -> None:
            self.given = (member, depth)

    class Pair:
        def __init__(
            self, in_channels: int, *,
            inner: Annotated[dict[str, Any], Nested("backbone")] = {"name": "needy", "size": 5},
            other: Annotated[dict[str, Any], Nested("head")] | None = None,
        ) -> None:
            self.given = (inner, other)

    class Plain:
        pass

    class Named:
        def __init__(self, in_channels: int, *, name: str = "toy") -> None: ...

    class Shadowed:
        def __init__(self, root: object, *, labels: str = "a", deep: bool = True, fold: int = 1) -> None: ...

    class WeightedCost:
        def __init__(self, labels: object, dimensions: object, *, weight: float = 5.0) -> None: ...

    class Members:
        def __init__(self, in_channels: int, *, member: Literal["a", 3] | None = "a") -> None:
            self.given = member

    class Bare:
        def __init__(self, in_channels: int, *, size=3) -> None: ...

    class Unsavable:
        def __init__(self, in_channels: int, *, scale: float = float("inf")) -> None: ...

    class Broken:
        def __init__(self, in_channels: int) -> None:
            raise SystemExit("gone")

    class Future:
        __emozoo_api__ = 99

    def build(in_channels: int, *, size: int = 1) -> Toy:
        return Toy(in_channels, size=size)

    number = 5
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A function that installs a distribution into a folder on sys.path; all is undone afterwards."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)

    def install(
        name: str,
        points: dict[str, str] | None = None,
        source: str = TOY,
        version: str = "1.2",
        requires: tuple[str, ...] = (),
        group: str = "emozoo.backbones",
        entry_points: str | None = None,
    ) -> Path:
        package = name.lower().replace("-", "_").replace(".", "_")
        (site / f"{package}.py").write_text(textwrap.dedent(source))
        folder = site / f"{package}-{version}.dist-info"
        folder.mkdir()
        needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        lines = "".join(f"{key} = {package}:{target}\n" for key, target in (points or {}).items())
        text = f"[{group}]\n{lines}" if entry_points is None else entry_points
        (folder / "entry_points.txt").write_text(text)
        registry.discover.cache_clear()
        return site

    registry.discover.cache_clear()
    yield install
    registry.discover.cache_clear()
    for module in set(sys.modules) - before:
        del sys.modules[module]


def _statuses(name: str) -> dict[str, str]:
    return {c.distribution: c.status for c in registry.discover() if c.name == name}


def _python(site: Path, code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(site), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_discovery_and_finding_import_no_plugin_not_even_a_broken_one(write):
    write("emozoo-good", {"good": "Toy"})
    site = write("emozoo-bad", {"bad": "Toy"}, source="raise RuntimeError('never import me')")
    code = """
        import json, sys
        from emozoo import registry
        found = [c.qualified for c in registry.discover()]
        registry.find("backbone", "bad")
        try:
            registry.find("backbone", "resnet81")
        except Exception as error:
            assert "resnet18" in str(error), error
        packages = ("emozoo_good", "emozoo_bad", "emozoo_backbones", "emozoo_heads", "emozoo_datasets",
                    "emozoo_consistency", "emozoo_aggregators", "torch", "timm", "datasets", "pydantic")
        print(json.dumps([found, [name for name in packages if name in sys.modules]]))
    """
    found, imported = json.loads(_python(site, code))
    assert {"emozoo-good:good", "emozoo-bad:bad", "emozoo:resnet18", "emozoo:vad"} <= set(found)
    assert imported == []


def test_a_component_is_imported_when_it_is_used_and_only_that_plugin_is(write):
    write("emozoo-other", {"other": "Toy"})
    write("emozoo-toy", {"toy": "Toy"})
    built = registry.build("backbone", "toy", {"size": 4}, 1, where="model.backbone")
    assert built.given == (1, 4, "fast", None, (1, 2), "small", False)
    assert "emozoo_toy" in sys.modules
    assert "emozoo_other" not in sys.modules


def test_a_component_is_known_with_its_kind_distribution_version_and_target(write):
    write("Emozoo_Toy.Extra", {"toy": "Toy"}, version="3.1", group="emozoo.heads")
    component = registry.find("head", "toy")
    assert component.qualified == "emozoo-toy-extra:toy"
    assert (component.kind, component.version, component.status) == ("head", "3.1", "ok")
    assert component.target == "emozoo_toy_extra:Toy"
    assert registry.find("head", "Emozoo.Toy_extra:toy") == component
    with pytest.raises(UnknownComponentError, match="no backbone is called 'toy'"):
        registry.find("backbone", "toy")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        ("Other = 1", "AttributeError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_reported_as_such_and_harms_nothing_else(write, source, said):
    write("emozoo-bad", {"bad": "Toy"}, source=source)
    write("emozoo-good", {"good": "Toy"})
    with pytest.raises(PluginLoadError) as caught:
        registry.resolve("backbone", "bad", {}, "model.backbone")
    text = str(caught.value)
    assert text.startswith(
        "backbone 'bad' of emozoo-bad 1.2 (entry point emozoo_bad:Toy) cannot be imported: "
    )
    assert said in text
    assert caught.value.__cause__ is not None
    assert registry.build("backbone", "good", {}, 1, where="model.backbone").given[1] == 3


def test_an_entry_point_that_names_something_that_cannot_be_called_says_what_it_names(write):
    write("emozoo-toy", {"five": "number"})
    with pytest.raises(PluginLoadError, match=r"emozoo_toy:number\) names a int, which cannot be called"):
        registry.load(registry.find("backbone", "five"))


def test_a_component_that_fails_while_it_is_built_is_named(write):
    write("emozoo-toy", {"toy": "Toy", "broken": "Broken", "plain": "Plain"})
    with pytest.raises(RecipeError, match=r"^model\.backbone: emozoo-toy:toy: 13 is unlucky$"):
        registry.build("backbone", "toy", {"size": 13}, 1, where="model.backbone")
    with pytest.raises(
        PluginLoadError, match=r"model\.backbone: backbone 'broken' of emozoo-toy .* SystemExit: gone"
    ):
        registry.build("backbone", "broken", {}, 1, where="model.backbone")
    with pytest.raises(PluginLoadError, match="cannot be built: TypeError"):
        registry.build("backbone", "plain", {}, 1, where="model.backbone")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("entry_points.txt", b"[emozoo.backbones]\nno equals sign\n"),
        ("entry_points.txt", b"[emozoo.backbones]\nbad = \xff\n"),
        ("METADATA", b""),
        ("METADATA", b"Name: emozoo-bad\nVersion: 1.2\nRequires-Dist: emozoo >> 3\n"),
    ],
)
def test_broken_metadata_of_one_distribution_costs_only_that_one_and_is_reported(write, file, content):
    write("emozoo-good", {"good": "Toy"})
    site = write("emozoo-bad", {"bad": "Toy"})
    (site / "emozoo_bad-1.2.dist-info" / file).write_bytes(content)
    with pytest.warns(EmozooWarning, match=rf"a distribution in {re.escape(str(site))}\S* is left out"):
        found = registry.discover()
    assert {"good", "resnet18"} <= {c.name for c in found}
    assert "bad" not in {c.name for c in found}


def test_an_ambiguous_short_name_raises_naming_both_and_qualified_names_work(write):
    write("emozoo-one", {"twin": "Toy"}, version="1.2")
    write("emozoo-two", {"twin": "build"}, version="0.3")
    assert _statuses("twin") == {"emozoo-one": "ambiguous", "emozoo-two": "ambiguous"}
    with pytest.raises(AmbiguousComponentError) as caught:
        registry.find("backbone", "twin")
    assert str(caught.value) == (
        "backbone 'twin' is provided by emozoo-one 1.2 and emozoo-two 0.3; "
        "write emozoo-one:twin or emozoo-two:twin"
    )
    assert registry.resolve("backbone", "emozoo-two:twin", {}, "model.backbone").name == "emozoo-two:twin"


def test_one_short_name_in_two_kinds_is_not_ambiguous(write):
    write("emozoo-one", {"twin": "Toy"})
    write("emozoo-two", {"twin": "Toy"}, group="emozoo.heads")
    assert registry.find("backbone", "twin").distribution == "emozoo-one"
    assert registry.find("head", "twin").distribution == "emozoo-two"


def test_a_built_in_is_never_shadowed_and_the_other_is_reached_by_its_qualified_name(write):
    write("aaa-plugin", {"resnet18": "Toy"})
    assert _statuses("resnet18") == {"emozoo": "ok", "aaa-plugin": "shadowed"}
    assert registry.find("backbone", "resnet18").distribution == "emozoo"
    assert registry.find("backbone", "aaa-plugin:resnet18").distribution == "aaa-plugin"


def test_the_first_of_two_copies_of_a_distribution_counts_as_it_does_for_import(write, tmp_path, monkeypatch):
    write("emozoo-toy", {"toy": "Toy"}, version="1.0")
    later = tmp_path / "later" / "emozoo_toy-9.0.dist-info"
    later.mkdir(parents=True)
    (later / "METADATA").write_text("Metadata-Version: 2.1\nName: emozoo-toy\nVersion: 9.0\n")
    (later / "entry_points.txt").write_text("[emozoo.backbones]\ntoy = elsewhere:Toy\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(later.parent)])
    registry.discover.cache_clear()
    found = registry.find("backbone", "toy")
    assert (found.version, found.status) == ("1.0", "ok")


def test_a_typo_is_answered_with_the_nearest_name_and_all_there_are():
    with pytest.raises(UnknownComponentError) as caught:
        registry.find("backbone", "resnet81")
    text = str(caught.value)
    assert text.startswith("no backbone is called 'resnet81'. Did you mean 'resnet18'?")
    assert "Installed: c3d, r3d, resnet18, separate, timm." in text
    assert "emozoo plugins list" in text


def test_an_unknown_distribution_is_told_apart_from_an_unknown_name_of_a_known_one():
    with pytest.raises(
        UnknownComponentError, match="No component of a distribution 'emozoo-rmn' is installed"
    ):
        registry.find("backbone", "emozoo-rmn:resnet18")
    with pytest.raises(UnknownComponentError, match="Did you mean 'resnet18'") as caught:
        registry.find("backbone", "emozoo:resnet1")
    assert "No component of a distribution" not in str(caught.value)


@pytest.mark.parametrize(
    ("requirement", "status"),
    [
        ("emozoo>=99", "incompatible"),
        ("Emozoo (<0.0.1)", "incompatible"),
        ("emozoo>=99 ; python_version >= '3'", "incompatible"),
        ("emozoo>=99 ; python_version < '3'", "ok"),
        ("emozoo>=99 ; extra == 'dev'", "ok"),
        ("emozoo-rmn>=99", "ok"),
        ("emozoo>=0.1,<99", "ok"),
        ("emozoo", "ok"),
    ],
)
def test_the_declared_range_of_emozoo_versions_is_checked_from_metadata(write, requirement, status):
    write("emozoo-toy", {"toy": "Toy"}, requires=("numpy", requirement))
    assert _statuses("toy") == {"emozoo-toy": status}
    assert "emozoo_toy" not in sys.modules


def test_an_incompatible_component_raises_with_the_pip_line_before_it_is_imported(write):
    write("emozoo-toy", {"toy": "Toy"}, requires=("emozoo>=2,<3",))
    with pytest.raises(PluginAPIError) as caught:
        registry.resolve("backbone", "toy", {}, "model.backbone")
    text = str(caught.value)
    assert "'emozoo-toy:toy' needs emozoo" in text
    assert ">=2" in text
    assert "pip install -U emozoo-toy emozoo" in text
    assert "emozoo_toy" not in sys.modules


def test_a_component_of_another_plugin_api_is_refused(write):
    write("emozoo-toy", {"toy": "Future"})
    with pytest.raises(
        PluginAPIError, match="was written for plugin API 99, this emozoo has 1: pip install -U"
    ):
        registry.resolve("backbone", "toy", {}, "model.backbone")


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("none", set()),
        ("", set()),
        ("emozoo-one", {"one"}),
        ("Emozoo_Two , emozoo.one", {"one", "two"}),
        ("emozoo-three", set()),
    ],
)
def test_the_plugin_filter_keeps_the_named_distributions_and_the_built_ins(write, monkeypatch, wanted, kept):
    write("emozoo-one", {"one": "Toy"})
    write("emozoo-two", {"two": "Toy"})
    monkeypatch.setenv("EMOZOO_PLUGINS", wanted)
    names = {c.name for c in registry.discover()}
    assert names & {"one", "two"} == kept
    assert "resnet18" in names


def test_a_filtered_plugin_is_never_imported_and_the_error_names_the_filter(write):
    site = write("emozoo-bad", {"bad": "Toy"}, source="raise RuntimeError('imported')")
    code = """
        import sys
        from emozoo import registry
        try:
            registry.resolve("backbone", "bad", {}, "model.backbone")
        except Exception as error:
            print(type(error).__name__, error, "emozoo_bad" in sys.modules)
    """
    said = _python(site, code, EMOZOO_PLUGINS="none")
    assert said.startswith("UnknownComponentError no backbone is called 'bad'.")
    assert "EMOZOO_PLUGINS=none hides all other plugins." in said
    assert said.endswith("False")


def test_a_filter_settles_an_ambiguity(write, monkeypatch):
    write("emozoo-one", {"twin": "Toy"})
    write("emozoo-two", {"twin": "Toy"})
    monkeypatch.setenv("EMOZOO_PLUGINS", "emozoo-two")
    assert registry.find("backbone", "twin").distribution == "emozoo-two"


def test_a_family_is_given_the_member_and_its_name_is_complete(write):
    write("emozoo-toy", {"zoo": "Family"})
    resolved = registry.resolve("backbone", "zoo/a/b", {"depth": 2}, "model.backbone")
    assert resolved.name == "emozoo-toy:zoo/a/b"
    assert resolved.build(1).given == ("a/b", 2)
    assert resolved.plain == {"name": "emozoo-toy:zoo/a/b", "depth": 2}
    again = registry.resolve("backbone", resolved.name, {"depth": 2}, "model.backbone")
    assert again.plain == resolved.plain
    assert registry.resolve("backbone", "zoo", {"member": "x"}, "model.backbone").name == "emozoo-toy:zoo/x"


def test_a_member_is_refused_where_there_is_none_missing_or_said_twice(write):
    write("emozoo-toy", {"zoo": "Family", "toy": "Toy"})
    with pytest.raises(
        RecipeError, match=r"model\.backbone\.name: 'emozoo-toy:toy' has no members; leave out '/x'"
    ):
        registry.resolve("backbone", "toy/x", {}, "model.backbone")
    with pytest.raises(RecipeError, match=r"model\.backbone\.member: missing; it is required"):
        registry.resolve("backbone", "zoo", {}, "model.backbone")
    with pytest.raises(RecipeError, match=r"'zoo/a' and the option member = 'b' disagree"):
        registry.resolve("backbone", "zoo/a", {"member": "b"}, "model.backbone")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"sise": 3},
            "b.sise: unknown key. Did you mean 'size'? Allowed: size, mode, rate, sides, table, copy, name.",
        ),
        ({"size": 0}, "b.size: should be greater than 0 (given: 0)"),
        ({"size": "3"}, "b.size: should be a valid integer (given: '3')"),
        ({"size": 3.0}, "b.size: should be a valid integer (given: 3.0)"),
        ({"size": True}, "b.size: should be a valid integer (given: True)"),
        ({"mode": "slwo"}, "b.mode: should be 'fast' or 'slow' (given: 'slwo') Did you mean 'slow'?"),
        ({"rate": "x"}, "b.rate: should be a valid number (given: 'x')"),
        ({"sides": 3}, "b.sides: should be a list (given: 3)"),
        ({"sides": [1, "x"]}, "b.sides.1: should be a valid integer (given: 'x')"),
        ({"table": 5}, "b.table: should be 'small' or should be a table (given: 5)"),
        ({"table": {"k": "v"}}, "b.table.k: should be a valid number (given: 'v')"),
        ({"copy": 1}, "b.copy: should be a valid boolean (given: 1)"),
    ],
)
def test_a_wrong_option_is_named_with_path_what_was_given_and_what_is_allowed(write, options, line):
    write("emozoo-toy", {"toy": "Toy"})
    where = "model.backbone"
    with pytest.raises(RecipeError) as caught:
        registry.resolve("backbone", "toy", options, where)
    assert line.replace("b.", f"  {where}.", 1) in str(caught.value).splitlines()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, {1, 2}, object(), Path("x")])
def test_an_option_that_json_cannot_hold_is_refused_with_its_path(write, value):
    write("emozoo-toy", {"toy": "Toy"})
    with pytest.raises(
        RecipeError, match=r"^model\.backbone\.table\.deep: should be text, a finite number of 64 bits"
    ):
        registry.resolve("backbone", "toy", {"table": {"deep": value}}, "model.backbone")


def test_all_wrong_options_are_listed_at_once(write):
    write("emozoo-toy", {"toy": "Toy"})
    with pytest.raises(RecipeError) as caught:
        registry.resolve("backbone", "toy", {"size": -1, "moed": "fast", "rate": "x"}, "model.heads.a")
    lines = str(caught.value).splitlines()
    assert lines[0] == "wrong options of model.heads.a:"
    assert {line.split(":")[0] for line in lines[1:]} == {
        "  model.heads.a.size",
        "  model.heads.a.moed",
        "  model.heads.a.rate",
    }


def test_a_table_s_own_keys_are_suggested_beside_the_options_of_its_component():
    with pytest.raises(RecipeError, match=r"data\.slect: unknown key\. Did you mean 'select'\?"):
        registry.resolve("dataset", "fer2013", {"slect": "x"}, "data")
    with pytest.raises(
        RecipeError, match=r"train\.consistency\.0\.wieght: unknown key\. Did you mean 'weight'\?"
    ):
        registry.resolve("consistency", "step", {"wieght": 1}, "train.consistency.0")


def test_options_come_complete_in_the_types_that_were_annotated_and_go_out_as_json(write):
    write("emozoo-toy", {"toy": "Toy", "build": "build", "needy": "Needy"})
    resolved = registry.resolve("backbone", "toy", {"rate": 1, "sides": [4]}, "model.backbone")
    expected = {"size": 3, "mode": "fast", "rate": 1.0, "sides": (4,), "table": "small", "copy": False}
    assert resolved.options == expected
    assert isinstance(resolved.options["rate"], float)
    assert resolved.plain == {"name": "emozoo-toy:toy", **expected, "sides": [4]}
    assert registry.build("backbone", "build", {"size": 2}, 7, where="b").given[:2] == (7, 2)
    with pytest.raises(RecipeError, match=r"model\.backbone\.size: missing; it is required"):
        registry.resolve("backbone", "needy", {}, "model.backbone")


def test_a_component_whose_options_cannot_be_read_or_saved_is_the_plugin_s_failure(write):
    write("emozoo-toy", {"bare": "Bare", "inf": "Unsavable"})
    with pytest.raises(
        PluginLoadError,
        match=r"the options of emozoo_toy\.Bare cannot be read: .*no annotation for size\. Its author gives",
    ):
        registry.resolve("backbone", "bare", {}, "model.backbone")
    with pytest.raises(
        PluginLoadError, match=r"default cannot be saved as JSON: model\.backbone\.scale.* author"
    ):
        _ = registry.resolve("backbone", "inf", {}, "model.backbone").plain


# --- components that are options of others ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "where", "hidden"),
    [
        ("backbone", "Named", "model.backbone", "'name'"),
        ("backbone", "Named", "model.backbone.inner", "'name'"),
        ("detector", "Named", "faces", "'name'"),
        ("dataset", "Shadowed", "data", "'labels', 'fold'"),
        ("consistency", "WeightedCost", "train.consistency.0", "'weight'"),
    ],
)
def test_an_option_that_is_called_as_a_key_of_its_table_is_the_plugin_s_failure(
    write, kind, name, where, hidden
):
    write("emozoo-toy", {"toy": name}, group=registry.GROUPS[kind])
    said = f"{where}: emozoo_toy.{name} has the option {hidden}, which is a key of the table"
    with pytest.raises(PluginLoadError, match=re.escape(said)):
        registry.resolve(kind, "emozoo-toy:toy", {}, where)


@pytest.mark.parametrize("member", ["a", 3, None])
def test_a_member_that_is_no_part_of_the_name_is_kept_as_an_option(write, member):
    write("emozoo-toy", {"some": "Members"})
    table = registry.resolve("backbone", "some", {"member": member}, "model.backbone").plain
    name, options = table.pop("name"), table
    assert registry.resolve("backbone", name, options, "model.backbone").build(1).given == member


def test_a_component_in_an_option_is_given_and_kept_in_full_name_and_every_option(write):
    write("emozoo-toy", {"pair": "Pair", "needy": "Needy"})
    write("emozoo-zoo", {"zoo": "Family"})
    by_default = registry.resolve("backbone", "pair", {}, "model.backbone")
    inner = {"name": "emozoo-toy:needy", "size": 5}
    assert by_default.plain == {"name": "emozoo-toy:pair", "inner": inner, "other": None}
    chosen = registry.resolve("backbone", "pair", {"inner": {"name": "zoo/a"}}, "model.backbone")
    assert chosen.build(1).given == ({"name": "emozoo-zoo:zoo/a", "depth": 1}, None)
    assert chosen.plain["inner"] == {"name": "emozoo-zoo:zoo/a", "depth": 1}
    table = dict(chosen.plain)
    assert registry.resolve("backbone", table.pop("name"), table, "model.backbone").plain == chosen.plain


def test_a_model_needs_the_distributions_of_components_in_options_however_deep(write):
    write("emozoo-toy", {"pair": "Pair"}, version="1.2")
    write("emozoo-zoo", {"zoo": "Family"}, version="0.3")
    write("emozoo-five", {"five": "Toy"}, version="5.0", group="emozoo.heads")
    options = {"inner": {"name": "pair", "inner": {"name": "zoo/a"}, "other": {"name": "five"}}}
    found = registry.resolve("backbone", "pair", options, "model.backbone").requires
    assert found == {"emozoo-toy": ">=1.2,<2", "emozoo-zoo": ">=0.3,<0.4", "emozoo-five": ">=5.0,<6"}


@pytest.mark.parametrize(
    ("inner", "error", "message"),
    [
        (
            {"name": "toy", "sise": 3},
            RecipeError,
            r"model\.backbone\.inner\.sise: unknown key\. Did you mean 'size'",
        ),
        (
            {"name": "pair", "inner": {"name": "toy", "size": 0}},
            RecipeError,
            r"model\.backbone\.inner\.inner\.size: should be greater than 0",
        ),
        ({"size": 4}, RecipeError, r"model\.backbone\.inner: which backbone\? Write its name"),
        ({"name": 4}, RecipeError, r"model\.backbone\.inner: which backbone\? Write its name"),
        ("toy", RecipeError, r"model\.backbone\.inner: should be a table \(given: 'toy'\)"),
        (None, RecipeError, r"model\.backbone\.inner: should be a table \(given: None\)"),
        ({"name": "resnet81"}, UnknownComponentError, "no backbone is called 'resnet81'"),
        ({"name": "twin"}, AmbiguousComponentError, "write emozoo-one:twin or emozoo-two:twin"),
    ],
)
def test_what_is_wrong_with_a_component_in_an_option_is_said_before_anything_is_built(
    write, inner, error, message
):
    write("emozoo-toy", {"pair": "Pair", "toy": "Toy"})
    write("emozoo-one", {"twin": "Toy"})
    write("emozoo-two", {"twin": "Toy"})
    with pytest.raises(error, match=message):
        registry.resolve("backbone", "pair", {"inner": inner}, "model.backbone")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.1.0", ">=0.1.0,<0.2"),
        ("0.3rc1", ">=0.3rc1,<0.4"),
        ("2", ">=2,<3"),
        ("1.4.2+local.7", ">=1.4.2,<2"),
        ("1!2.5", ">=1!2.5,<1!3"),
    ],
)
def test_a_saved_model_needs_the_version_it_was_made_with_or_a_later_compatible_one(write, version, expected):
    from packaging.specifiers import SpecifierSet

    write("emozoo-toy", {"toy": "Toy"}, version=version)
    found = registry.requirement_of(registry.find("backbone", "toy"))
    assert found == {"emozoo-toy": expected}
    assert SpecifierSet(expected).contains(version, prereleases=True)


@pytest.mark.parametrize("component", registry.discover(), ids=lambda c: f"{c.kind}-{c.name}")
def test_every_installed_component_is_imported_and_declares_options_that_can_be_read(component):
    from emozoo.options import option_names

    assert component.status == "ok"
    assert isinstance(option_names(registry.load(component)), list)
