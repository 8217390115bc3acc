"""Cards say what the record says, and nothing that is not in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from records import LABELS, small_record
from small import tiny_model

from emozoo.card import BEGIN, END, entry_card, metadata, render_card, settings_of, write_card
from emozoo.card_check import folder_problems
from emozoo.errors import DataError, EmozooError
from emozoo.folder import load_model
from emozoo.zoo import entries

TRAINED = [entry for entry in entries() if entry.record is not None]


@pytest.mark.parametrize("entry", TRAINED, ids=[entry.name for entry in TRAINED])
def test_every_committed_card_is_what_its_record_renders_to(entry) -> None:
    assert (entry.folder / "README.md").read_text() == entry_card(entry.folder)


@pytest.mark.parametrize("entry", TRAINED, ids=[entry.name for entry in TRAINED])
def test_every_committed_record_belongs_to_the_committed_recipe_and_the_settings_of_its_card(entry) -> None:
    from emozoo.recipe import load_recipe, parse_recipe
    from emozoo.records import recipe_record

    recorded = parse_recipe(
        entry.record["recipe"], where="run.json"
    )  # keys that are new since have their defaults
    settings = settings_of(entry.folder, entry.record)
    assert recipe_record(recorded) == recipe_record(load_recipe(entry.recipe_file, settings))
    assert entry.weights is None or not settings, "a bundled model is what its recipe makes"


@pytest.mark.parametrize("entry", TRAINED, ids=[entry.name for entry in TRAINED])
def test_every_committed_record_names_no_machine(entry) -> None:
    text = json.dumps(entry.record)
    assert "/home/" not in text
    assert "/tmp/" not in text
    assert entry.record["recipe"]["data"]["root"] is None


@pytest.mark.parametrize("entry", TRAINED, ids=[entry.name for entry in TRAINED])
def test_a_cards_header_is_yaml_with_library_split_and_value(entry) -> None:
    text = (entry.folder / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["library_name"] == "emozoo"
    result = header["model-index"][0]["results"][0]
    assert result["dataset"]["split"] == entry.record["result"]["split"]
    assert {"accuracy"} <= {metric["type"] for metric in result["metrics"]}
    assert text.count(BEGIN) == text.count(END) == 1


def test_figures_of_the_split_that_chose_the_checkpoint_are_called_validation_figures() -> None:
    record = small_record()
    assert "validation figures" not in render_card(record | {"selected_on": None})
    text = render_card(record | {"selected_on": record["reported_on"]})
    assert "**These figures are validation figures:**" in text


def test_the_hub_reads_the_header() -> None:
    card = ModelCard((TRAINED[0].folder / "README.md").read_text(), ignore_metadata_errors=False)
    assert card.data.library_name == "emozoo"
    assert card.data.eval_results


def test_nothing_is_left_to_fill_in() -> None:
    for path in (Path(entry.folder) / "README.md" for entry in TRAINED):
        text = path.read_text()
        assert re.findall(r"\b(TODO|More Information Needed|None|nan)\b", text) == []


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of a card's tables by their first cell."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_every_category_has_its_number_and_an_interval() -> None:
    shown = rows(render_card(small_record()))
    for place, label in enumerate(LABELS):
        recall = f"{50 + place}.00 % [{41 + place}.00, {59 + place}.00]"
        assert shown[label] == [str(30 + place), f"{60 + place}.00 %", recall, f"{55 + place}.00 %"]
    assert shown["accuracy (WAR)"] == ["61.23 % [59.23, 63.23]"]
    assert shown["always guessing the most frequent class"] == ["15.58 %"]


def test_every_dimension_stands_beside_what_a_constant_reaches() -> None:
    shown = rows(render_card(small_record()))
    assert shown["dominance"][:3] == ["230", "0.402 [0.382, 0.422]", "0.452 [0.432, 0.472]"]
    assert shown["dominance, constant (mean of this split)"] == [
        "230", "0.135", "undefined", "0.025", "0.089", "0.069", "0.235"
    ]  # fmt: skip


def test_how_often_category_and_vad_contradict_each_other_is_said() -> None:
    text = " ".join(render_card(small_record()).split())
    assert "contradict each other (rule table `quadrants`) for 13.42 % of 231 samples" in text
    assert "the annotations themselves for 5.51 % of 200." in text
    record = small_record()
    record["result"]["consistency"] = None
    assert "contradict" not in render_card(record)


def test_use_limits_and_people_are_in_every_card_once_and_in_the_authors_words_where_there_are_some() -> None:
    plain = render_card(small_record())
    own = "## Intended use\n\nOurs.\n\n## Out of scope use\n\nTheirs.\n\n### People\n\nWho.\n"
    written = render_card(small_record(), own)
    for heading in ("# Intended use", "# Out of scope", "# People"):
        assert plain.count(heading) == written.count(heading) == 1
    assert "of different age, gender or skin tone was not measured" in plain
    assert "skin tone" not in written
    assert plain.index("# People") < plain.index(END)
    assert written.index(END) < written.index("# People")


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        (lambda r: r["recipe"]["card"].update(licence=""), ["licence of the weights", "\nlicense:"]),
        (lambda r: r["recipe"]["card"].update(summary=""), ["It is for tests."]),
        (lambda r: r["data"].update(licence="", citation=""), ["terms of the data", "data_license", "Source of the"]),
        (lambda r: r["result"]["heads"].pop("vad"), ["constant", "CCC", "### vad"]),
        (lambda r: r["result"]["heads"].pop("emotion"), ["### emotion", "precision", "(WAR)"]),
    ],
    ids=["licence", "summary", "terms", "no vad", "no categories"],
)  # fmt: skip
def test_what_is_not_known_is_left_out(change, gone) -> None:
    whole, record = render_card(small_record()), small_record()
    change(record)
    text = render_card(record)
    for words in gone:
        assert words in whole
        assert words not in text
    assert not re.findall(r"\b(None|nan|TODO)\b|: *$|\"\"|\[\]|\n{4}", text, re.MULTILINE)


def test_a_head_of_a_kind_that_is_new_shows_its_metrics() -> None:
    record = small_record()
    record["result"]["heads"]["pain"] = {
        "task": "pain", "n": 17, "primary": "r", "metrics": {"r": {"value": 0.31, "interval": [0.2, 0.4]}}
    }  # fmt: skip
    text = render_card(record)
    assert "### pain (n = 17)" in text
    assert rows(text)["r"] == ["0.310 [0.200, 0.400]"]


def test_the_header_says_what_the_hub_wants_to_know() -> None:
    fields = metadata(small_record())
    assert fields["library_name"] == "emozoo"
    assert fields["pipeline_tag"] == "image-classification"
    assert (fields["license"], fields["data_license"]) == ("mit", "none: they are drawn")
    assert fields["datasets"] == ["drawings"]
    assert fields["metrics"] == ["accuracy", "ccc", "f1", "recall", "rmse"]
    assert "base_model" not in fields
    results = ModelCard(render_card(small_record()), ignore_metadata_errors=False).data.eval_results
    found = {result.metric_name: result for result in results}
    accuracy = found["emotion: accuracy (WAR)"]
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", 0.6123)
    assert accuracy.metric_args["n"] == 231
    assert (accuracy.dataset_type, accuracy.dataset_split) == ("drawings", "test")
    assert (accuracy.source_name, accuracy.source_url) == ("record of the run", "run.json")
    assert found["vad: CCC, mean"].metric_value == 0.4873


@pytest.mark.parametrize("how", ["task", "sampling"])
def test_a_model_of_videos_is_one_on_the_hub_too(how) -> None:
    record = small_record()
    if how == "task":
        record["recipe"]["card"]["task"] = "video"
    else:
        record["recipe"]["model"] |= {"sampling": {"name": "clips"}, "aggregator": {"name": "ceflnet"}}
    fields = metadata(record)
    assert fields["pipeline_tag"] == "video-classification"
    assert fields["model-index"][0]["results"][0]["task"]["type"] == "video-classification"
    text = render_card(record)
    assert 'model.predict("clip.mp4")' in text
    if how == "sampling":
        assert "resnet18 and ceflnet, 12,345 parameters" in text
        assert "a video of one face, its frames chosen by `clips`" in text


def test_a_model_that_started_from_one_of_the_hub_names_it() -> None:
    record = small_record()
    record["init"] = {"source": "faces", "sha256": "0" * 64, "tensors": 3, "of": 4}
    assert "base_model" not in metadata(record)
    assert "started from the weights of faces (3 of 4 tensors)" in render_card(record)
    record["init"] |= {"repo": "alice/faces", "commit": "1" * 40}
    assert metadata(record)["base_model"] == "alice/faces"
    assert metadata(record)["base_model_relation"] == "finetune"


def test_a_measurement_of_smaller_faces_is_named_so_and_repeats_no_quarters() -> None:
    record = small_record()
    more = {
        "dataset": "faces",
        "split": "test",
        "tta": "none",
        "reader": ["folders"],
        "quality": ["of no use"],
    }
    text = render_card(record, more=[{**record["result"], **more, "face_size": 16}])
    assert "Measured apart: faces, `test`, faces of 16 px" in text
    assert "of no use" not in text


def test_a_model_that_was_taught_by_others_names_them() -> None:
    record = small_record() | {"teachers": [{"source": "resnet18-fer2013"}, {"source": "dir:large"}]}
    assert "taught by resnet18-fer2013 and dir:large as well as by labels" in render_card(record)


@pytest.mark.parametrize(
    ("licence", "fields"),
    [
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("For research only", {"license": "other", "license_name": "For research only"}),
    ],
)
def test_a_licence_that_the_hub_has_no_id_for_is_named_in_words(licence, fields) -> None:
    record = small_record()
    record["recipe"]["card"]["licence"] = licence
    assert fields.items() <= metadata(record).items()


def test_a_run_that_kept_its_last_epoch_says_that_nothing_was_chosen() -> None:
    record = small_record()
    record["selected_on"] = None
    text = render_card(record)
    assert "the last of" in text
    assert "nothing was chosen" in text
    assert "checkpoint chosen on" not in text


START = {"source": "faces", "sha256": "0" * 64, "tensors": 3, "of": 4}


def test_figures_of_the_split_that_chose_the_starting_weights_are_called_validation_figures() -> None:
    choice = {"model": "faces", "dataset": "Drawings", "split": "test", "fingerprint": "0" * 64}
    record = small_record() | {"selected_on": None, "init": {**START, "choices": [choice]}}
    text = render_card(record)
    assert "| comes from | faces, whose checkpoint was chosen on `test` of Drawings |" in text
    assert "is the one that chose the checkpoint of faces, which this model comes from, so they" in text
    assert "nothing was chosen" not in text
    both = render_card(record | {"selected_on": "test"})
    assert (
        "is the one that chose the checkpoint and that of faces, which this model comes from, so they" in both
    )
    record["init"]["choices"] = []
    assert "nothing was chosen" in render_card(record), "nor by the model that it started from"
    assert "validation figures" not in render_card(record)


@pytest.mark.parametrize(
    "older", [{"init": START}, {"teachers": [{"source": "faces"}]}], ids=["init", "teachers"]
)
def test_a_card_does_not_say_that_nothing_was_chosen_where_the_record_does_not_know(older) -> None:
    text = render_card(small_record() | {"selected_on": None} | older)
    assert "the last of 3 epochs; how the models that it comes from were chosen is not recorded |" in text
    assert "nothing was chosen" not in text
    assert "| comes from" not in text


def finished_run(folder: Path, seed: int, *pictures: str) -> Path:
    """Make the folder of a run with a model, a record and pictures."""
    tiny_model(seed).save(folder / "model")
    (folder / "run.json").write_text(json.dumps(small_record(seed=seed)))
    for name in pictures:
        (folder / name).write_bytes(b"\x89PNG")
    return folder


def test_the_record_of_another_model_is_not_put_beside_one(tmp_path: Path) -> None:
    one, other = (finished_run(tmp_path / f"run{seed}", seed) for seed in (0, 1))
    entry = tmp_path / "entry"
    entry.mkdir()
    write_card(entry, one, weights=True)
    before = {path.name: path.read_bytes() for path in entry.iterdir() if path.is_file()}
    with pytest.raises(DataError, match=r"entry holds a model, .*--weights"):
        write_card(entry, other)
    assert before == {path.name: path.read_bytes() for path in entry.iterdir() if path.is_file()}
    write_card(entry, other, weights=True)
    assert (
        load_model(entry, "cpu").source.sha256
        != json.loads(before["manifest.json"])["files"]["model.safetensors"]["sha256"]
    )


@pytest.mark.parametrize("stored", ["rounded", "as trained"])
def test_the_record_of_the_run_that_made_an_entry_s_model_is_renewed_and_the_model_stays(
    tmp_path: Path, stored
) -> None:
    run = finished_run(tmp_path / "run", 0)
    entry = tmp_path / "entry" if stored == "rounded" else run / "model"
    entry.mkdir(exist_ok=True)
    write_card(entry, run, weights=stored == "rounded")
    weights = (entry / "model.safetensors").read_bytes()
    record = small_record() | {"finished": "2026-02-02T00:00:00+00:00"}
    (run / "run.json").write_text(json.dumps(record))
    write_card(entry, run)
    assert json.loads((entry / "run.json").read_text())["finished"] == record["finished"]
    assert (entry / "model.safetensors").read_bytes() == weights
    load_model(entry, "cpu")


def test_an_entry_without_a_record_asks_for_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no run.json to make a card of: name a finished run with --run"):
        write_card(tmp_path)


def test_what_people_wrote_into_the_card_of_a_folder_without_card_md_stays(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run", 0) / "model"
    write_card(folder, tmp_path / "run")
    own = "\n## People\n\nMy own words.\n"
    with (folder / "README.md").open("a") as file:
        file.write(own)
    for _ in range(2):
        write_card(folder)
    text = (folder / "README.md").read_text()
    assert text.count(own.strip()) == text.count("## People") == 1
    assert 'emozoo.load("dir:.")' in text, "a folder's name loads nothing where it is no entry of the zoo"


@pytest.mark.parametrize("broken", ["record", "weights"])
def test_a_card_that_cannot_be_written_leaves_the_entry_as_it_is(tmp_path: Path, broken: str) -> None:
    entry = tmp_path / "entry"
    (entry / "records").mkdir(parents=True)
    write_card(entry, finished_run(tmp_path / "one", 0, "curves.png"), weights=True)
    other = finished_run(tmp_path / "two", 1)
    if broken == "record":
        (entry / "records" / "a.json").write_text("{")
    else:
        (other / "model" / "model.safetensors").write_bytes(b"damaged")
    before = {path: path.read_bytes() for path in entry.rglob("*") if path.is_file()}
    with pytest.raises(
        EmozooError, match=r"a.json is not valid JSON" if broken == "record" else "damaged|bytes"
    ):
        write_card(entry, other, weights=True)
    assert before == {path: path.read_bytes() for path in entry.rglob("*") if path.is_file()}
    load_model(entry, "cpu")


def test_a_record_that_was_measured_with_other_weights_is_a_problem_of_the_card(tmp_path: Path) -> None:
    entry = tmp_path / "entry"
    (entry / "records").mkdir(parents=True)
    write_card(entry, finished_run(tmp_path / "run", 0), weights=True)
    shipped = json.loads((entry / "manifest.json").read_text())["files"]["model.safetensors"]["sha256"]
    trained = json.loads((entry / "run.json").read_text())["weights"]["sha256"]
    for name, sha256 in {"shipped": shipped, "trained": trained, "other": "0" * 64}.items():
        (entry / "records" / f"{name}.json").write_text(json.dumps({"source": {"sha256": sha256}}))
    (problem,) = folder_problems(entry)
    assert f"other.json: measured with other weights ({'0' * 12}...)" in problem


def test_pictures_of_an_earlier_run_do_not_stay_in_a_card(tmp_path: Path) -> None:
    entry = tmp_path / "entry"
    entry.mkdir()
    write_card(entry, finished_run(tmp_path / "run0", 0, "curves.png", "vad_space.png"))
    write_card(entry, finished_run(tmp_path / "run1", 1, "curves.png"))
    assert [path.name for path in (entry / "pictures").iterdir()] == ["curves.png"]
    assert "vad_space" not in (entry / "README.md").read_text()
