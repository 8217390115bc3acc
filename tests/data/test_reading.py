"""Which reader reads, and which rows train, select and report."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from small import install

from emozoo.data.reading import hold_out, open_reader, read, reader_for, recognise, split_rows
from emozoo.errors import (
    ContractError,
    DataError,
    DatasetNotRecognisedError,
    EmozooWarning,
    RecipeError,
    UnknownComponentError,
)
from emozoo.recipe import Data

READERS = """
class Reader:
    title, licence, citation, vad_scale = "Ones", "CC0", "nobody", None
    suffix = ".ones"
    def __init__(self, root, *, size: int = 3): self.root, self.size = root, size
    @classmethod
    def recognises(cls, root): return root.suffix == cls.suffix
    def read(self): raise NotImplementedError
    def check(self): return []

class Also(Reader):
    suffix = ".both"

class Too(Reader):
    suffix = ".both"

class Failing(Reader):
    @classmethod
    def recognises(cls, root): raise KeyError("an index that is not there")

class Partial:
    def __init__(self, root): pass
    @classmethod
    def recognises(cls, root): return False
"""


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Readers of a plugin: `ones` reads *.ones, `also` and `too` both read *.both, `failing` fails on everything."""
    site = tmp_path / "site"
    site.mkdir()
    names = {"ones": "Reader", "also": "Also", "too": "Too", "partial": "Partial", "gone": "Gone"}
    points = {f"datasets/{name}": attribute for name, attribute in names.items()}
    install(monkeypatch, site, "odd-readers", "1.0", points, READERS)
    return tmp_path


def table(count: int, **columns: Any) -> Dataset:
    """Rows of 3 categories in turn, all of split "train"."""
    tree = {
        "id": [f"row-{index}" for index in range(count)],
        "split": ["train"] * count,
        "label": [index % 3 for index in range(count)],
        **columns,
    }
    features = {name: Value("string") for name in tree} | {"label": ClassLabel(names=["a", "b", "c"])}
    return Dataset.from_dict(tree, features=Features(features))


# --- readers --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::emozoo.errors.EmozooWarning")
def test_a_dataset_is_read_by_the_reader_that_recognises_it(readers: Path) -> None:
    path = readers / "data.ones"
    path.write_text("1")
    name, reader = reader_for(path, None, ["size=7"])
    assert (name, type(reader).__name__, reader.root, reader.size) == ("ones", "Reader", path, 7)


@pytest.mark.filterwarnings("ignore::emozoo.errors.EmozooWarning")
def test_a_dataset_that_no_reader_or_two_recognise_needs_a_name(readers: Path) -> None:
    for name, message in (
        ("x.none", "no reader recognises"),
        ("x.both", "readers also and too both recognise"),
    ):
        (readers / name).write_text("")
        with pytest.raises(
            DatasetNotRecognisedError, match=rf"{message} .*; name one with --reader \(installed: .*ones"
        ):
            recognise(readers / name)
    assert reader_for(readers / "x.both", "too", [])[0] == "too"


def test_a_reader_that_fails_is_left_out_with_a_warning_and_stops_no_other(readers: Path) -> None:
    path = readers / "data.ones"
    path.write_text("1")
    with pytest.warns(EmozooWarning, match=r"reader odd-readers:gone is left out: .*cannot be imported"):
        assert recognise(path) == "ones"


def test_a_reader_that_raises_on_a_file_does_not_recognise_it(
    readers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = readers / "failing"
    site.mkdir()
    install(monkeypatch, site, "failing-readers", "1.0", {"datasets/failing": "Failing"}, READERS)
    (readers / "data.ones").write_text("1")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert recognise(readers / "data.ones") == "ones"
    assert any(
        "failing-readers:failing is left out: 'an index that is not there'" in str(w.message) for w in caught
    )


def test_a_place_that_does_not_exist_is_said_so(readers: Path) -> None:
    for call in (
        lambda p: recognise(p),
        lambda p: reader_for(p, "ones", []),
        lambda p: reader_for(p, None, []),
    ):
        with pytest.raises(DataError, match=r"there is no file or folder .*nowhere"):
            call(readers / "nowhere")
    with pytest.raises(DataError, match="name the dataset's place with --data, or a reader"):
        reader_for(None, None, [])


def test_options_of_a_reader_are_checked_by_name_and_type(readers: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.sise: unknown key\. Did you mean 'size'"):
        open_reader(Data.model_validate({"name": "ones", "sise": 3}))
    with pytest.raises(RecipeError, match=r"data\.size"):
        reader_for(None, "ones", ["size=many"])
    with pytest.raises(RecipeError, match=r"data\.holdout.*less than 1"):
        reader_for(None, "ones", ["holdout=7"])
    with pytest.raises(UnknownComponentError, match=r"no dataset is called 'twos'\. Did you mean"):
        reader_for(None, "twos", [])


def test_a_reader_that_lacks_part_of_its_contract_is_refused(readers: Path) -> None:
    with pytest.raises(ContractError, match="'partial' lacks part of its contract"):
        open_reader(Data(name="partial"))


class Given:
    """A reader that returns what it was given."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def read(self) -> Dataset:
        return self.rows


def with_image(rows: Dataset) -> Dataset:
    return rows.add_column("image", [""] * len(rows))


def test_what_a_reader_returns_is_checked() -> None:
    rows = with_image(table(4))
    assert len(read(Given(rows), "given")) == 4
    with pytest.raises(ContractError, match="'given' returns no column split, label"):
        read(Given(rows.remove_columns(["split", "label"])), "given")
    with pytest.raises(ContractError, match="neither or both of the columns image and video"):
        read(Given(rows.remove_columns("image")), "given")
    with pytest.raises(ContractError, match="neither or both of the columns image and video"):
        read(Given(rows.add_column("video", [""] * 4)), "given")
    with pytest.raises(DataError, match="dataset 'given' is empty"):
        read(Given(rows.select([])), "given")
    with pytest.raises(ContractError, match=r"column label is no datasets\.ClassLabel"):
        read(Given(rows.cast_column("label", Value("int64"))), "given")
    with pytest.raises(ContractError, match="gives 2 rows the id 'row-1'; each needs its own"):
        read(Given(with_image(table(4, id=["row-0", "row-1", "row-2", "row-1"]))), "given")
    with pytest.raises(ContractError, match="'given' returns images decoded"):
        read(Given(rows.cast_column("image", Image())), "given")
    for other in (DatasetDict(train=rows), rows.to_iterable_dataset(), None):
        with pytest.raises(
            ContractError, match=rf"'given' returned a {type(other).__name__}, not a datasets"
        ):
            read(Given(other), "given")


def test_rows_are_plain_values_whatever_format_a_reader_gave_them() -> None:
    rows = read(Given(with_image(table(4)).with_format("numpy")), "given")
    assert {type(value) for value in rows["label"]} == {int}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(KeyError("boom"), ContractError), (DataError("boom"), DataError), (PermissionError("boom"), OSError)],
)
def test_a_reader_that_fails_is_named_and_what_it_says_of_the_data_stays(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception]
) -> None:
    def fail(_: Given) -> Dataset:
        raise raised

    monkeypatch.setattr(Given, "read", fail)
    with pytest.raises(
        expected, match="'given' raised KeyError: 'boom'" if expected is ContractError else "boom"
    ):
        read(Given(table(1)), "given")


# --- splits ---------------------------------------------------------------------------------------------------


def three_splits() -> Dataset:
    return table(12, split=["train"] * 6 + ["val"] * 4 + ["test"] * 2)


def test_named_splits_train_select_and_report() -> None:
    found = split_rows(three_splits(), Data(name="x", select="val", report="test"))
    assert (found.train, found.select, found.report) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9], [10, 11])
    assert (found.train_name, found.select_name, found.report_name) == ("train", "val", "test")


def test_without_a_report_split_the_selection_split_is_reported_under_its_name() -> None:
    found = split_rows(three_splits(), Data(name="x", select="val"))
    assert found.report == found.select
    assert found.report_name == "val"


def test_without_a_selection_split_a_share_of_the_training_rows_selects_and_no_longer_trains() -> None:
    found = split_rows(table(300), Data(name="x", holdout=0.2))
    assert sorted(found.train + found.select) == list(range(300))
    assert len(found.select) == 60
    assert found.select_name == found.report_name == "train (held-out 20%)"


@pytest.mark.parametrize("role", ["train", "select", "report"])
def test_a_split_that_is_not_there_is_refused_with_those_that_are(role: str) -> None:
    with pytest.raises(
        DataError, match=r"no split 'tets'\. Did you mean 'test'\? It has: train \(6\), val \(4\), test \(2\)"
    ):
        split_rows(three_splits(), Data.model_validate({"name": "x", role: "tets"}))


@pytest.mark.parametrize("roles", [{"select": "train"}, {"report": "train"}])
def test_what_is_trained_on_neither_selects_nor_reports(roles: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"data\.train is 'train', and so is data\.select or data\.report"):
        split_rows(three_splits(), Data.model_validate({"name": "x", **roles}))


def test_a_split_that_selects_and_reports_is_called_so() -> None:
    both = split_rows(three_splits(), Data(name="x", select="val", report="val"))
    alone = split_rows(three_splits(), Data(name="x", select="val"))
    assert both == alone
    assert both.select == both.report
    assert both.select_name == both.report_name == "val"


# --- held-out rows --------------------------------------------------------------------------------------------


def ids_of(rows: Dataset, index: list[int]) -> set[str]:
    names = rows["id"]
    return {names[i] for i in index}


def test_held_out_rows_are_spread_evenly_over_the_categories() -> None:
    labels = [0] * 200 + [1] * 50 + [2] * 10
    rows = table(260, label=labels)
    train, held = hold_out(rows, range(260), 0.1)
    assert [sum(labels[i] == k for i in held) for k in range(3)] == [20, 5, 1]
    assert not set(train) & set(held)
    assert len(train) + len(held) == 260


def test_the_same_rows_are_held_out_in_whatever_order_and_company_they_come() -> None:
    rows = table(120)
    _, held = hold_out(rows, range(120), 0.2)
    order = list(range(120))
    random.Random(1).shuffle(order)
    shuffled = rows.select(order)
    _, held_again = hold_out(shuffled, range(120), 0.2)
    assert ids_of(rows, held) == ids_of(shuffled, held_again)
    random.seed(99)
    assert hold_out(rows, range(120), 0.2)[1] == held


def test_the_rows_left_keep_their_order() -> None:
    train, held = hold_out(table(60), range(60), 0.3)
    assert train == sorted(train)
    assert held == sorted(held)


def test_only_the_rows_given_are_split() -> None:
    index = list(range(30, 90))
    train, held = hold_out(table(120), index, 0.2)
    assert sorted(train + held) == index


def test_no_subject_is_on_both_sides() -> None:
    subjects = [f"person-{index // 7}" for index in range(140)]
    rows = table(140, subject=subjects)
    train, held = hold_out(rows, range(140), 0.25)
    on_sides = [{subjects[i] for i in side} for side in (train, held)]
    assert not on_sides[0] & on_sides[1]
    assert len(on_sides[1]) == 5
    assert len(held) == 35


def test_rows_without_a_subject_among_subjects_stand_for_themselves() -> None:
    subjects = [f"person-{index // 10}" if index < 50 else None for index in range(100)]
    train, held = hold_out(table(100, subject=subjects), range(100), 0.2)
    assert not {subjects[i] for i in train if i < 50} & {subjects[i] for i in held if i < 50}
    assert len(held) + len(train) == 100


def test_a_category_with_one_sample_keeps_it_for_training() -> None:
    rows = table(21, label=[0] * 20 + [1])
    train, held = hold_out(rows, range(21), 0.5)
    assert 20 in train
    assert len(held) == 10


def test_a_small_share_still_holds_something_of_each_category_out() -> None:
    labels = [index % 3 for index in range(30)]
    _, held = hold_out(table(30), range(30), 0.01)
    assert sorted(labels[i] for i in held) == [0, 1, 2]


@pytest.mark.parametrize(
    ("rows", "what"),
    [(table(9, subject=["me"] * 9), "subject"), (table(3), "sample of any category")],
    ids=["one subject", "one sample of each category"],
)
def test_where_nothing_can_be_held_out_a_selection_split_is_asked_for(rows: Dataset, what: str) -> None:
    with pytest.raises(
        DataError, match=rf"no more than one {what}, so none can be held out; name data\.select"
    ):
        split_rows(rows, Data(name="x"))
