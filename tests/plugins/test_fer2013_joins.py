"""FER+ votes and VAD annotations joined onto FER2013."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fer2013_samples import (
    LABELS,
    PIXELS,
    SPLITS,
    TEXTS,
    USAGES,
    class_folders,
    make_the_samples_whole,
    png,
    write,
    write_original,
)
from sklearn.linear_model import LogisticRegression

from emozoo.errors import DataError, EmozooWarning
from emozoo.labels import FER2013_LABELS
from emozoo_datasets import ferplus
from emozoo_datasets.fer2013 import Fer2013
from emozoo_datasets.image_checks import stop

VOTES = {
    "agreed": [0, 0, 0, 0, 8, 0, 0, 0, 1, 1],
    "split": [4, 0, 0, 0, 5, 0, 0, 0, 1, 0],
    "contempt": [2, 0, 0, 0, 0, 0, 0, 7, 1, 0],
    "unknown": [2, 0, 0, 0, 0, 0, 0, 0, 8, 0],
    "no face": [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],
    "scattered": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
}


@pytest.fixture(autouse=True)
def _whole(monkeypatch):
    make_the_samples_whole(monkeypatch)


def write_votes(path: Path, votes) -> Path:
    rows = [
        [usage, f"fer{i:07}.png", *vote] for i, (usage, vote) in enumerate(zip(USAGES, votes, strict=True))
    ]
    return write(path, ["Usage", "Image name", *ferplus.VOTES], rows)


def with_votes(folder: Path) -> Path:
    write_original(folder / "fer2013.csv")
    write_votes(folder / "fer2013new.csv", list(VOTES.values()) * 2)
    return folder


def test_ferplus_votes_beside_the_images_become_the_labels_asked_for(tmp_path):
    with_votes(tmp_path)
    plain = Fer2013(tmp_path).read()
    assert plain["label"][:] == LABELS
    assert "label_probabilities" not in plain.column_names
    hard = Fer2013(tmp_path, annotation="ferplus-majority").read()
    assert hard["label"][:6] == [0, 0, None, None, None, None]
    soft = Fer2013(tmp_path, annotation="ferplus-probability").read()
    assert soft["label"][:6] == hard["label"][:6]
    neutral_or_angry = [5 / 9, 0, 0, 0, 0, 0, 4 / 9]
    assert soft["label_probabilities"][0] == [1, 0, 0, 0, 0, 0, 0]
    assert soft["label_probabilities"][1] == pytest.approx(neutral_or_angry)
    assert soft["label_probabilities"][2:6] == [None] * 4


def test_a_share_of_ferplus_softens_the_training_labels_alone(tmp_path):
    with_votes(tmp_path)
    rows = Fer2013(tmp_path, blend=0.5).read()
    assert rows["label"][:] == LABELS, "whatever FER+ says, the labels are FER2013's own"
    soft = rows["label_probabilities"]
    assert soft[0] == pytest.approx([1, 0, 0, 0, 0, 0, 0])
    assert soft[1] == pytest.approx([5 / 18, 0.5, 0, 0, 0, 0, 4 / 18]), "half of disgust, half of 5/9 and 4/9"
    assert soft[2:] == [None] * 10, "votes that settle nothing, then other splits"
    with pytest.raises(ValueError, match="blend is a share"):
        Fer2013(tmp_path, blend=0.5, annotation="ferplus-majority")


def test_translated_votes_are_a_logistic_regression_of_the_labels():
    generator = np.random.default_rng(2)
    votes = generator.multinomial(10, generator.dirichlet(np.full(10, 0.3), 600)).astype(np.float32)
    labels = np.where(generator.random(600) < 0.7, votes[:, :7].argmax(1), generator.integers(0, 7, 600))
    votes[0], labels[1] = np.nan, -1
    made = ferplus.as_fer2013(votes, labels)
    share = votes.astype(float) / 10
    features = np.hstack([np.ones((600, 1)), share, share**2, np.sqrt(share)])
    reference = LogisticRegression(C=1 / (2e-5 * 598), fit_intercept=False, solver="newton-cg", tol=1e-8)
    reference.fit(features[2:], labels[2:])
    assert np.isnan(made[0]).all()
    assert made[1:] == pytest.approx(reference.predict_proba(features[1:]), abs=2e-4)
    assert np.isnan(ferplus.as_fer2013(votes, np.full(600, -1))).all(), "nothing to learn from"


def test_translated_votes_soften_every_training_label_that_has_votes(tmp_path):
    with_votes(tmp_path)
    rows = Fer2013(tmp_path, blend=0.5, translate_votes=True).read()
    assert rows["label"][:] == LABELS
    soft = rows["label_probabilities"]
    assert [row is not None for row in soft] == [split == "train" for split in SPLITS]
    for label, row in zip(LABELS, soft, strict=True):
        assert row is None or (sum(row) == pytest.approx(1, abs=1e-3) and row[label] >= 0.5)
    with pytest.raises(ValueError, match="give the share of it, blend"):
        Fer2013(tmp_path, translate_votes=True)


def test_translated_votes_tell_labels_of_real_images_that_they_were_not_fitted_to(real_data):
    rows, _ = Fer2013(real_data / "fer2013")._rows(stop)
    trained = rows.split == "train"
    made = ferplus.as_fer2013(rows.votes, np.where(trained, rows.label, -1))
    likelihood = made[np.arange(len(rows)), rows.label]
    assert -np.log(likelihood[trained]).mean() == pytest.approx(0.873, abs=0.002)
    assert -np.log(likelihood[~trained]).mean() == pytest.approx(0.889, abs=0.002)
    told = made[~trained].argmax(1) == rows.label[~trained]
    majority = np.nan_to_num(ferplus.majority(rows.votes, contempt=False)[~trained])
    of_majority = majority[np.arange(len(majority)), rows.label[~trained]]
    assert told.mean() == pytest.approx(0.671, abs=0.003)
    assert of_majority.mean() == pytest.approx(0.595, abs=0.003), "and so many does FER+'s majority tell"


def test_contempt_is_an_eighth_label_where_asked_for(tmp_path):
    rows = Fer2013(with_votes(tmp_path), annotation="ferplus-probability", contempt=True).read()
    assert rows.features["label"].names == [*FER2013_LABELS, "contempt"]
    assert rows["label"][2] == 7
    assert rows["label_probabilities"][2] == pytest.approx([0, 0, 0, 0, 0, 0, 0, 1])  # 7 of 9 hold 75 %
    with pytest.raises(ValueError, match="contempt is a label of FER\\+ only"):
        Fer2013(tmp_path, contempt=True)


def test_images_of_no_face_are_left_out_where_asked_for(tmp_path):
    rows = Fer2013(with_votes(tmp_path), drop_not_faces=True).read()
    assert rows["id"][:] == [f"{split}/{i}" for i, split in enumerate(SPLITS) if i % 6 != 4]


def test_doubles_of_training_images_are_left_out_of_the_other_splits_where_asked_for(tmp_path):
    texts = [*TEXTS[:6], TEXTS[2], TEXTS[7], TEXTS[7], TEXTS[2], TEXTS[10], TEXTS[11]]
    texts[1] = texts[0]
    rows = zip(LABELS, texts, USAGES, strict=True)
    write(tmp_path / "fer2013.csv", ["emotion", "pixels", "Usage"], rows)
    assert len(Fer2013(tmp_path).read()) == 12
    kept = Fer2013(tmp_path, drop_doubles=True).read()["id"][:]
    doubled = {6, 9}
    assert kept == [f"{split}/{i}" for i, split in enumerate(SPLITS) if i not in doubled], "train stays whole"


def test_votes_that_cannot_be_joined_are_an_error_only_where_they_are_asked_for(tmp_path):
    class_folders(tmp_path)
    with pytest.raises(
        DataError, match=r"holds no FER\+ votes, which the options ask for; put fer2013new.csv"
    ):
        Fer2013(tmp_path, drop_not_faces=True).read()
    write_votes(tmp_path / "fer2013new.csv", list(VOTES.values()) * 2)
    with pytest.raises(DataError, match="12 of these 12 images do not say which row they are"):
        Fer2013(tmp_path, drop_not_faces=True).read()
    assert len(Fer2013(tmp_path).read()) == 12
    assert not [f for f in Fer2013(tmp_path).check() if f.severity == "error"]


@pytest.mark.parametrize("lost", [0, 3, 5])
def test_rows_of_a_split_that_lost_an_image_are_not_known_and_nothing_is_joined_by_them(tmp_path, lost):
    write_votes(tmp_path / "fer2013new.csv", list(VOTES.values()) * 2)
    train = [row for row in zip(LABELS, TEXTS, USAGES, strict=True) if row[2] == "Training"]
    del train[lost]
    write(tmp_path / "fer2013.csv", ["emotion", "pixels", "Usage"], train)
    with pytest.raises(DataError, match=r"5 of these 5 images do not say which row they are; use the whole"):
        Fer2013(tmp_path, annotation="ferplus-majority").read()
    by_row = write(tmp_path / "vad.csv", ["row", "valence", "arousal", "dominance"], [[4, 1, 1, 1]])
    with pytest.raises(DataError, match=r"no image is row 4 \(rows are known in whole splits in their own"):
        Fer2013(tmp_path / "fer2013.csv", vad=str(by_row)).read()


def test_rows_of_shuffled_images_are_not_known(tmp_path):
    write_votes(tmp_path / "fer2013new.csv", list(VOTES.values()) * 2)
    rows = list(zip(LABELS, TEXTS, USAGES, strict=True))
    write(tmp_path / "fer2013.csv", ["emotion", "pixels", "Usage"], rows[::2] + rows[1::2])
    with pytest.raises(DataError, match=r"12 of these 12 images do not say which row they are"):
        Fer2013(tmp_path, drop_not_faces=True).read()


def test_whole_splits_have_their_votes_whichever_of_them_there_are(tmp_path):
    write_votes(tmp_path / "fer2013new.csv", list(VOTES.values()) * 2)
    rows = list(zip(LABELS, TEXTS, USAGES, strict=True))
    for part, expected in ((slice(6, 9), [0, 0, None]), (slice(0, 9), [0, 0, *[None] * 4, 0, 0, None])):
        write(tmp_path / "fer2013.csv", ["emotion", "pixels", "Usage"], rows[part])
        assert Fer2013(tmp_path, annotation="ferplus-majority").read()["label"][:] == expected


def test_votes_of_other_images_are_an_error(tmp_path):
    image = [{"bytes": png(one), "path": None} for one in PIXELS]
    table = {"image": image, "label": LABELS, "split": ["PublicTest", *USAGES[1:]], "row": list(range(12))}
    pq.write_table(pa.table(table), tmp_path / "all.parquet")
    write_votes(tmp_path / "fer2013new.csv", list(VOTES.values()) * 2)
    with pytest.raises(DataError, match="row 0 is of public_test here and train there"):
        Fer2013(tmp_path, annotation="ferplus-majority").read()


def distribution_by_loop(votes, contempt):
    """FER+'s rule, one image at a time: highest votes first until 75 % or three emotions."""
    counted = [v if v > 1 else 0 for v in votes]
    left, kept, reached = list(counted), [0] * 8, 0
    while reached < 0.75 * sum(counted) and sum(k > 0 for k in kept) < 3:
        top = max(left)
        stopped = False
        for i in range(10):
            if left[i] == top and not stopped:
                reached, left[i] = reached + top, 0
                if i < 8:
                    kept[i] = top
                else:
                    stopped = True
        if stopped:
            break
    if sum(kept) <= 0.5 * sum(counted) or sum(k > 0 for k in kept) > 3:
        return None
    by_name = dict(
        zip(
            ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"), kept, strict=True
        )
    )
    if not contempt:
        rival = by_name.pop("contempt")
        if rival > max(by_name.values()):
            return None
    return [by_name[name] / sum(by_name.values()) for name in (*FER2013_LABELS, "contempt")[: len(by_name)]]


@pytest.mark.parametrize("contempt", [False, True])
def test_ferplus_distributions_follow_the_authors_rule(contempt):
    generator = np.random.default_rng(1)
    peaks = generator.dirichlet(np.full(10, 0.3), 3000)
    votes = np.array([generator.multinomial(10, peak) for peak in peaks], np.float32)
    made = ferplus.probability(votes, contempt)
    expected = [distribution_by_loop(vote, contempt) for vote in votes.tolist()]
    assert 0 < sum(one is None for one in expected) < 3000
    for row, one in zip(made, expected, strict=True):
        assert np.isnan(row).all() if one is None else row == pytest.approx(one, abs=1e-6)


def test_ferplus_majority_is_what_more_than_half_name():
    votes = np.array(
        [*VOTES.values(), [5, 5, 0, 0, 0, 0, 0, 0, 0, 0], [0, 4, 3, 0, 0, 0, 0, 0, 0, 0]],
        np.float32,
    )
    labels = ferplus.majority(votes, contempt=True)
    best = [None if np.isnan(row).any() else (*FER2013_LABELS, "contempt")[row.argmax()] for row in labels]
    assert best == ["angry", "angry", "contempt", None, None, None, None, "happy"]


def vad_file(path: Path, rows) -> str:
    return str(write(path, ["source_name", "row", "label", "valence", "arousal", "dominance"], rows))


def test_vad_is_joined_by_row_and_rescaled_and_every_mismatch_is_found(tmp_path):
    write_original(tmp_path / "fer2013.csv")
    vad_file(
        tmp_path / "vad.csv",
        [
            ["", 0, 0, -2, 1, 0],
            ["", 1, 3, 1, 1, 1],
            ["", 99, 0, 1, 1, 1],
            ["", 0, 0, 2, 2, 2],
            ["", 7, "happy", 2, "", -1],
        ],
    )
    reader = Fer2013(tmp_path / "fer2013.csv", vad="vad.csv")  # found beside the images
    with pytest.warns(
        EmozooWarning, match=r"3 VAD annotations .*vad\.csv, line 3: row 1 is happy here but disgust"
    ):
        rows = reader.read()
    assert reader.vad_scale == (-2, 2)
    values = list(zip(rows["valence"], rows["arousal"], rows["dominance"], strict=True))
    assert values[0] == (-1.0, 0.5, 0.0)
    assert values[7] == (1.0, None, -0.5)
    assert set(values[1:7] + values[8:]) == {(None, None, None)}
    lines = [f.subject.rpartition(" ")[2] for f in reader.check() if "vad.csv" in f.subject]
    assert lines == ["3", "4", "5"]


def test_vad_is_joined_by_name_and_by_row_where_names_repeat(tmp_path):
    names = ["a.jpg", "b.jpg", "b.jpg"]
    image = [{"bytes": png(one), "path": None} for one in PIXELS[:3]]
    table = pa.table(
        {"image": image, "label": [0, 1, 2], "row": pa.array([5, 6, 8], pa.int32()), "source_name": names}
    )
    pq.write_table(table, tmp_path / "train.parquet")
    vad = vad_file(tmp_path / "vad.csv", [["b.jpg", 8, 2, 1, 1, 1], ["a.jpg", 5, 0, -1, 0, 0]])
    rows = Fer2013(tmp_path, vad=vad).read()
    assert rows["id"][:] == ["a.jpg", "b.jpg", "b.jpg#2"]
    assert rows["valence"][:] == [-0.5, None, 0.5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["", 0, 0, 3, 0, 0]], r"vad\.csv, line 2: column valence: '3' is outside -2\.\.2"),
        ([["", 0, 0, "high", 0, 0]], r"vad\.csv, line 2: column valence: 'high' is no number"),
        ([["x.jpg", "", 0, 1, 0, 0]], r"no annotation matches an image; .*line 2: no image is x\.jpg"),
    ],
)
def test_vad_that_cannot_be_used_is_an_error(tmp_path, rows, message):
    write_original(tmp_path / "fer2013.csv")
    with pytest.raises(DataError, match=message):
        Fer2013(tmp_path, vad=vad_file(tmp_path / "vad.csv", rows)).read()


def test_the_check_suspects_labels_in_another_order(tmp_path):
    votes = [[0] * 10 for _ in LABELS]
    for vote, label in zip(votes, LABELS, strict=True):
        vote[[4, 5, 6, 1, 3, 2, 0][(label + 1) % 7]] = 10
    write_original(tmp_path / "fer2013.csv")
    write_votes(tmp_path / "fer2013new.csv", votes)
    assert any(f.severity == "error" and "another order" in f.message for f in Fer2013(tmp_path).check())
