"""The FER2013 reader: every form gives the same rows, and what is wrong is named."""

from __future__ import annotations

import sys
import time
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fer2013_samples import (
    LABELS,
    PIXELS,
    TEXTS,
    assert_original_rows,
    class_folders,
    csv_by_split,
    hdf5,
    icml_csv,
    original_csv,
    parquet_shards,
    parquet_with_splits,
    write,
    write_original,
)
from PIL import Image

from emozoo.contracts import DatasetReader
from emozoo.data.checks import check
from emozoo.errors import DataError
from emozoo_datasets.fer2013 import Fer2013
from emozoo_datasets.fer2013_files import read_form
from emozoo_datasets.fer2013_forms import find_form
from emozoo_datasets.folders import Folders
from emozoo_datasets.image_checks import stop

FORMS = [original_csv, icml_csv, csv_by_split, hdf5, parquet_shards, parquet_with_splits, class_folders]


@pytest.mark.parametrize("make", FORMS)
def test_every_form_gives_the_same_images_labels_and_splits(tmp_path, make):
    make(tmp_path)
    reader = Fer2013(tmp_path)
    assert isinstance(reader, DatasetReader)
    assert_original_rows(reader.read())
    assert not [finding for finding in reader.check() if finding.severity == "error"]


@pytest.mark.parametrize("make", [form for form in FORMS if form is not parquet_shards])
def test_every_form_is_recognised_and_the_folder_reader_stands_back(tmp_path, make):
    make(tmp_path)
    assert Fer2013.recognises(tmp_path)
    assert not Folders.recognises(tmp_path)


def test_parquet_with_classes_in_another_order_is_read_by_name_but_not_taken_for_fer2013(tmp_path):
    parquet_shards(tmp_path)
    assert not Fer2013.recognises(tmp_path)


def test_reading_writes_nothing_into_the_folder(tmp_path):
    original_csv(tmp_path)
    reader = Fer2013(tmp_path)
    reader.read(), reader.check()
    assert [path.name for path in tmp_path.iterdir()] == ["fer2013.csv"]


def test_folders_named_train_validation_test_are_the_challenges_three_splits(tmp_path):
    class_folders(tmp_path, ("train", "validation", "test"))
    assert_original_rows(Fer2013(tmp_path).read())


def test_a_merged_test_is_called_test_and_the_check_says_so(tmp_path):
    class_folders(tmp_path, ("train", "test", "test"))
    reader = Fer2013(tmp_path)
    assert_original_rows(reader.read(), splits=["train"] * 6 + ["test"] * 6)
    warnings = [f.message for f in reader.check() if f.severity == "warning" and f.subject == "test"]
    assert any("public and the private test are merged" in message for message in warnings)


def test_file_names_tell_the_two_tests_of_a_merged_folder_apart(tmp_path):
    class_folders(tmp_path, ("train", "test", "test"), prefixed=True)
    rows = Fer2013(tmp_path).read()
    assert_original_rows(rows)
    assert {"Training_0.png", "PublicTest_6.png", "PrivateTest_9.png"} <= set(rows["id"])


def test_a_validation_split_without_a_test_is_not_called_the_public_test(tmp_path):
    write(tmp_path / "train.csv", ["emotion", "pixels"], zip(LABELS[:6], TEXTS[:6], strict=True))
    write(tmp_path / "val.csv", ["emotion", "pixels"], zip(LABELS[6:], TEXTS[6:], strict=True))
    assert set(Fer2013(tmp_path).read()["split"]) == {"train", "validation"}


def test_kaggles_test_file_without_labels_is_read_as_unlabelled(tmp_path):
    write(tmp_path / "train.csv", ["emotion", "pixels"], zip(LABELS[:6], TEXTS[:6], strict=True))
    write(tmp_path / "test.csv", ["pixels"], [[text] for text in TEXTS[6:]])
    assert Fer2013.recognises(tmp_path)
    assert_original_rows(
        Fer2013(tmp_path).read(), splits=["train"] * 6 + ["test"] * 6, labels=LABELS[:6] + [None] * 6
    )


def test_vad_columns_of_huo_and_ge_are_read_on_their_scale(tmp_path):
    header = ["index", "emotionLabel", "Valence", "Arousal", "Dominance", "emotion", "pixels"]
    rows = [[0, "0=Angry", -1, 1, 2, 0, TEXTS[0]], [7, "3=Happy", 2, 0, "", 3, TEXTS[3]]]
    write(tmp_path / "3 outputPublicTest_forVAD-20240117.csv", header, rows)
    reader = Fer2013(tmp_path)
    read = reader.read()
    assert reader.vad_scale == (-2, 2)
    assert [read[name][:] for name in ("valence", "arousal", "dominance")] == [
        [-0.5, 1.0],
        [0.5, 0.0],
        [1.0, None],
    ]
    assert read["id"][:] == ["public_test/28709", "public_test/28716"]


def _numbers(root):
    form = find_form(root)
    assert form is not None
    return read_form(form, stop).row.tolist()


def test_a_number_that_no_row_of_the_split_has_is_no_row(tmp_path):
    header, rows = ["index", "emotion", "pixels"], [[0, 0, TEXTS[0]], [1, 3, TEXTS[3]]]
    assert _numbers(write(tmp_path / "test.csv", header, rows)) == [-1, -1], "which test is not known"
    assert _numbers(write(tmp_path / "PublicTest.csv", header, rows)) == [28709, 28710]
    rows = [[28709, 0, TEXTS[0]], [0, 3, TEXTS[3]]]
    assert _numbers(write(tmp_path / "PublicTest.csv", header, rows)) == [-1, 28709], "not of the whole file"


def test_a_test_split_without_numbers_for_labels_takes_them_from_their_names(tmp_path):
    rows = [["3=Happy", TEXTS[3]], ["", TEXTS[0]]]
    write(tmp_path / "test.csv", ["emotionLabel", "pixels"], rows)
    assert Fer2013(tmp_path).read()["label"][:] == [3, None]


def test_a_class_name_that_contradicts_its_number_is_an_error(tmp_path):
    header = ["index", "emotionLabel", "Valence", "Arousal", "Dominance", "emotion", "pixels"]
    write(tmp_path / "outputTrain.csv", header, [[0, "0=Angry", 1, 1, 1, 3, TEXTS[0]]])
    with pytest.raises(
        DataError, match=r"outputTrain\.csv, line 2: columns emotion and emotionLabel disagree: 3 and 0=Angry"
    ):
        Fer2013(tmp_path).read()


BAD = {
    "pixel count": ({"pixels": {4: "1 2 3"}}, r"fer2013\.csv, line 6: column pixels: has 3 values, not 2304"),
    "pixel text": (
        {"pixels": {4: TEXTS[4] + " x"}},
        r"line 6: column pixels: holds something that is no whole number",
    ),
    "no pixels": ({"pixels": {4: ""}}, r"line 6: column pixels"),
    "fractions": ({"pixels": {4: "1.5 " * 2304}}, r"line 6: column pixels: holds something that is no whole"),
    "pixel range": ({"pixels": {0: "256 " * 2304}}, r"line 2: column pixels: holds values outside 0\.\.255"),
    "negative": ({"pixels": {0: "-1 " * 2304}}, r"line 2: column pixels: holds values outside 0\.\.255"),
    "label range": ({"emotion": {0: "7"}}, r"line 2: column emotion: '7' is no label; write 0 to 6 \(angry"),
    "label text": ({"emotion": {0: "glee"}}, r"line 2: column emotion: 'glee' is no label"),
    "usage": ({"Usage": {11: "Tset"}}, r"line 13: column Usage: 'Tset' is none of Training, PublicTest"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_row_is_named_by_reading_and_by_checking_which_goes_on(tmp_path, changes, message):
    path = write_original(tmp_path / "fer2013.csv", **changes)
    with pytest.raises(DataError, match=message):
        Fer2013(path).read()
    findings = Fer2013(path).check()
    errors = [f"{f.subject}: {f.message}" for f in findings if f.severity == "error"]
    assert len(errors) == 1
    with pytest.raises(DataError, match=message):
        raise DataError(errors[0])
    assert sum(int(f.message.split()[0]) for f in findings if "samples:" in f.message) == 11


def test_a_check_lists_every_bad_row(tmp_path):
    path = write_original(tmp_path / "fer2013.csv", emotion={1: "9", 5: "-1"}, Usage={7: "?"})
    subjects = [f.subject.rpartition(" ")[2] for f in Fer2013(path).check() if f.severity == "error"]
    assert subjects == ["3", "7", "9"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("fer2013.csv", b"", "is empty; copy or download it again"),
        ("fer2013.csv", b"emotion,pixels,Usage\n", "holds no rows"),
        (
            "fer2013.csv",
            b"emotion,Usage\n0,Training\n",
            r"lacks the column\(s\) pixels; it has emotion, usage",
        ),
        ("mine.csv", b"emotion,pixels\n0,1\n", "says nowhere which split its rows are of"),
        ("train.csv", b"pixels\n0\n", r"lacks the column\(s\) emotion"),
        ("fer2013.csv", b"emotion,pixels,Usage\n0,Training\n", "line 2: has 2 cells for 3 columns"),
        ("data.h5", b"\x89HDF\r\n\x1a\nrubbish", "is not a whole HDF5 file"),
        ("train.parquet", b"PAR1rubbish", "is not a whole parquet file"),
    ],
)
def test_a_bad_file_is_named_by_reading_and_by_checking(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        Fer2013(tmp_path).read()
    assert any(f.severity == "error" and name in f.subject for f in Fer2013(tmp_path).check())


def test_truncated_files_are_named(tmp_path):
    for make, name in ((hdf5, "data.h5"), (parquet_with_splits, "all.parquet")):
        folder = tmp_path / make.__name__
        folder.mkdir()
        make(folder)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=f"{name}: is not a whole"):
            Fer2013(folder).read()


def test_bad_rows_of_hdf5_and_parquet_are_named(tmp_path):
    hdf5(tmp_path)
    import h5py

    with h5py.File(tmp_path / "data.h5", "a") as file:
        file["PublicTest_label"][1] = 7
    with pytest.raises(DataError, match=r"data\.h5, PublicTest_label, row 1: 7 is no label"):
        Fer2013(tmp_path).read()
    table = pa.table(
        {
            "image": [{"bytes": None, "path": "a.png"}],
            "label": [8],
            "split": ["Trainig"],
            "ferplus_votes": [[10] * 10],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    found = [
        f"{f.subject} {f.message}" for f in Fer2013(tmp_path / "x.parquet").check() if f.severity == "error"
    ]
    for text in (
        "column image, row 0 no bytes",
        "column label, row 0 8 is no label",
        "column split, row 0 Trainig is none",
    ):
        assert any(text in one for one in found)


def test_hdf5_without_h5py_says_what_to_install(tmp_path, monkeypatch):
    hdf5(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert Fer2013.recognises(tmp_path)
    with pytest.raises(DataError, match=r'data\.h5: reading HDF5 needs h5py: pip install "emozoo\[h5\]"'):
        Fer2013(tmp_path).read()


def test_a_path_without_fer2013_says_which_forms_there_are(tmp_path):
    for root, message in (
        (tmp_path, "holds no FER2013"),
        (tmp_path / "gone", "does not exist"),
        (None, "give your copy"),
    ):
        with pytest.raises(DataError, match=message):
            Fer2013(root)
    assert not Fer2013.recognises(tmp_path)


def test_the_check_finds_repeated_blank_and_broken_images(tmp_path):
    class_folders(tmp_path, prefixed=True)
    twin = tmp_path / "PublicTest" / "happy" / "PublicTest_900.png"
    Image.fromarray(PIXELS[0]).save(twin)  # the same face as Training_0, which is angry
    Image.new("L", (48, 48), 7).save(tmp_path / "Training" / "sad" / "Training_901.png")
    (tmp_path / "Training" / "sad" / "Training_902.png").write_bytes(b"no image")
    Image.new("L", (20, 30)).save(tmp_path / "Training" / "sad" / "Training_903.png")
    found = {f.message: (f.severity, f.subject) for f in check(Fer2013(tmp_path), "fer2013")}

    def finding(text):
        return next(value for message, value in found.items() if text in message)

    assert finding("not an image that can be read") == ("error", "Training_902.png")
    assert finding("2 images are blank") == ("warning", "Training_901.png, Training_903.png")
    assert finding("1 images are not 48x48") == ("warning", "Training_903.png")
    for text in ("groups of identical images, of 2 rows", "in more than one split", "carry different labels"):
        assert finding(text)[0] == "warning"
        assert set(finding(text)[1].split(" = ")) == {"Training_0.png", "PublicTest_900.png"}


def test_the_check_counts_classes_and_says_that_a_part_is_not_the_whole(tmp_path):
    original_csv(tmp_path)
    messages = {(f.severity, f.subject): f.message for f in Fer2013(tmp_path).check()}
    assert messages["info", "public_test"] == "3 samples: angry 1, happy 1, neutral 1"
    assert "6 images, the original has 28,709" in messages["warning", "train"]


def test_the_real_data_is_read_whole_in_seconds(real_data):
    reader = Fer2013(real_data / "fer2013", vad=str(real_data / "fer2013-vad"))
    start = time.process_time()
    rows = reader.read()
    assert time.process_time() - start < 8  # decoding the images would take longer
    counts = Counter(zip(rows["split"], rows["label"], strict=True))
    assert [counts["train", label] for label in range(7)] == [3995, 436, 4097, 7215, 4830, 3171, 4965]
    assert Counter(rows["split"]) == {"train": 28709, "public_test": 3589}
    annotated = [
        split for split, value in zip(rows["split"], rows["valence"], strict=True) if value is not None
    ]
    assert Counter(annotated) == {"train": 199, "public_test": 31}
    assert len(set(rows["id"])) == len(rows)
    first = {row["id"]: row for row in rows.select(range(3589, 3592))}["Training_1426440.jpg"]
    assert (first["valence"], first["arousal"], first["dominance"]) == (-0.5, 0.5, 0.5)


def test_the_real_data_has_no_errors_and_its_known_faults_are_found(real_data):
    findings = check(Fer2013(real_data / "fer2013", vad=str(real_data / "fer2013-vad")), "fer2013")
    assert not [f for f in findings if f.severity == "error"]
    text = "\n".join(f.message for f in findings)
    for part in (
        "163 images show no face",
        "12 images are blank",
        "270 groups of identical images lie in more than one",
    ):
        assert part in text
