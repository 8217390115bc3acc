"""Planted expressions: where they are said to be they are, and nothing of a test video was seen in training."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emozoo.contracts import DatasetReader
from emozoo.data.sampling import Clips
from emozoo.errors import DataError, RecipeError
from emozoo.evaluation.rich_clips import true_clip
from emozoo.labels import FER2013_LABELS
from emozoo.registry import build
from emozoo_datasets.planted import Planted
from emozoo_datasets.planted_frames import FADE, Nuisances, Plant, render_frames

FACES = {"samples": 210, "validation_samples": 0, "test_samples": 70}
VIDEOS = {"train": 48, "test": 24}
STILL = dict.fromkeys(("light", "blur", "noise", "motion", "occlusion"), 0.0)


def planted(root=None, **options):
    given = {"source": "synthetic", "source_options": FACES, "videos": VIDEOS, **options}
    return build("dataset", "planted", given, root, where="data")


@pytest.fixture(scope="module")
def reader():
    return planted()


@pytest.fixture(scope="module")
def rows(reader):
    return reader.read()


@pytest.fixture(scope="module")
def faces():
    """The source's pictures and labels, by split."""
    found = defaultdict(list)
    for row in build("dataset", "synthetic", FACES, None, where="data").read():
        found[row["split"]].append((np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))), row["label"]))
    return found


# What is read


def test_rows_keep_the_contract_of_video_readers(reader, rows):
    assert isinstance(reader, DatasetReader)
    assert rows.features["label"].names == list(FER2013_LABELS[:-1])
    types = {
        name: rows.features[name].dtype for name in ("id", "video", "split", "subject", "frames", "start")
    }
    assert types == dict.fromkeys(("id", "video", "split", "subject"), "string") | {
        "frames": "int32",
        "start": "int32",
    }
    assert len(set(rows["id"])) == len(rows) == 72
    assert set(rows["frames"]) == {105}
    assert Counter(rows["split"]) == VIDEOS
    assert "Synthetic faces" in reader.title
    assert "no real person is shown" in reader.licence


def test_balanced_videos_have_as_many_of_each_category_in_each_split(rows):
    counts = Counter(zip(rows["split"], rows["label"], strict=True))
    assert [counts["train", label] for label in range(6)] == [8] * 6
    assert [counts["test", label] for label in range(6)] == [4] * 6


def test_unbalanced_videos_have_categories_as_often_as_the_pictures_do():
    source = {"samples": 210, "validation_samples": 0, "test_samples": 0}
    rows = planted(balanced=False, source_options=source, videos={"train": 600}).read()
    counts = np.bincount(rows["label"], minlength=6)
    assert len(set(counts)) > 1
    assert np.abs(counts - 100).max() < 40  # 4.4 standard deviations of what evenly many pictures give


def test_stretches_are_as_long_as_asked_for_and_the_middle_lies_in_the_middle_two_thirds():
    rows = planted(videos={"train": 2000}, stretch=[7, 12]).read()
    start, stop = np.array(rows["start"]), np.array(rows["stop"])
    assert set(stop - start) == set(range(7, 13))
    middle = (start + stop) / 2
    assert 17 <= middle.min() < 18
    assert 87 < middle.max() <= 88
    assert np.histogram(middle, 7, (17.5, 87.5))[0].min() > 230  # of 286 expected
    assert rows["peak"] == ((start + stop) // 2).tolist()


def test_each_of_ceflnets_seven_clips_is_the_rich_one_in_about_a_seventh_of_the_videos():
    rows = planted(videos={"train": 2100}).read()
    index = Clips(name="clips").sample(105).index
    clips = [true_clip(start, stop, index) for start, stop in zip(rows["start"], rows["stop"], strict=True)]
    shares = np.bincount(clips, minlength=7) / 2100
    assert shares.min() > 0.11
    assert shares.max() < 0.18


def test_a_stretch_never_leaves_the_video():
    rows = planted(videos={"train": 500}, length=20, stretch=[1, 6]).read()
    assert min(rows["start"]) >= 0
    assert max(rows["stop"]) <= 20


# Where the pictures come from


def test_a_video_shows_a_neutral_picture_and_one_of_its_label_both_of_its_own_split(faces):
    reader = planted(**STILL, strength=[1.0, 1.0])
    for row in reader.read():
        frames = reader.render(row["video"], [0 if row["start"] else 104, row["peak"]]).astype(float)
        found = [likest(frame, faces[row["split"]]) for frame in frames]
        assert [label for _, label in found] == [FER2013_LABELS.index("neutral"), row["label"]]
        mean, spread = (np.mean([f(picture) for picture, _ in found]) for f in (np.mean, np.std))
        for frame, (picture, _) in zip(frames, found, strict=True):
            expected = (picture - picture.mean()) / picture.std() * spread + mean
            np.testing.assert_allclose(frame, np.clip(expected, 0, 255), atol=0.6)


def test_in_a_neutral_video_another_neutral_face_comes_and_goes_and_the_other_videos_stay_as_they_are(faces):
    reader = planted(**STILL, strength=[1.0, 1.0], categories=FER2013_LABELS, videos={"train": 70})
    neutral = FER2013_LABELS.index("neutral")
    rows = [row for row in reader.read() if row["label"] == neutral]
    assert len(rows) == 10
    for row in rows:
        frames = reader.render(row["video"], [0 if row["start"] else 104, row["peak"]]).astype(float)
        found = [likest(frame, faces["train"]) for frame in frames]
        assert [label for _, label in found] == [neutral, neutral]
        assert found[0][0].tolist() != found[1][0].tolist(), "it is another picture"
    without = planted(videos={"train": 1}, categories=["angry"])
    beside = planted(videos={"train": 1}, categories=["angry", "neutral"])
    frames = (each.render("train/000000", range(105)) for each in (without, beside))
    np.testing.assert_array_equal(*frames)


def likest(frame, members):
    """The picture that a frame is most like, up to brightness and contrast, and its label."""
    likeness = [np.corrcoef(frame.ravel(), picture.ravel())[0, 1] for picture, _ in members]
    return members[int(np.argmax(likeness))]


def test_no_picture_is_in_the_videos_of_two_casts_or_two_splits():
    reader = planted(**STILL, strength=[1.0, 1.0], videos={"train": 300, "test": 60})
    seen = defaultdict(set)
    for row in reader.read():
        script = reader.script(row["split"], int(row["video"].rpartition("/")[2]))
        for place in (script.holder, script.planted.picture):
            seen[reader._pools[row["split"]].pictures[place].tobytes()].add(row["subject"])
    assert {len(subjects) for subjects in seen.values()} == {1}
    assert len({subject for subjects in seen.values() for subject in subjects}) == 20 + 10


def class_folders(root: Path, pictures: dict[str, list[np.ndarray]]) -> Path:
    for folder, members in pictures.items():
        (root / folder).mkdir(parents=True)
        for number, picture in enumerate(members):
            Image.fromarray(picture).save(root / folder / f"{number}.png")
    return root


def test_a_picture_that_is_in_two_splits_is_used_for_training_alone(tmp_path):
    drawn = np.random.default_rng(0).integers(0, 256, (6, 48, 48)).astype(np.uint8)
    tree = {
        "test/happy": [drawn[0], drawn[1]],
        "test/neutral": [drawn[2]],
        "train/happy": [drawn[1], drawn[3]],
        "train/neutral": [drawn[4], drawn[4], drawn[5]],
    }
    options = {
        "source": "folders",
        "source_options": {},
        "categories": ["happy"],
        "videos": {"test": 3, "train": 3},
    }
    reader = planted(class_folders(tmp_path, tree), **options)
    rows = reader.read()
    assert rows["split"][:3] == ["train"] * 3
    used = {split: {p.tobytes() for p in pool.pictures} for split, pool in reader._pools.items()}
    assert used == {
        "train": {p.tobytes() for p in drawn[[1, 3, 4, 5]]},
        "test": {p.tobytes() for p in drawn[[0, 2]]},
    }
    warned = {f.subject: f.message for f in reader.check() if f.severity == "warning"}
    assert warned["test"] == "1 pictures are left out: an earlier row is the same picture"
    assert warned["train"].startswith("1 pictures")


def test_pictures_of_any_size_and_colour_become_grey_squares(tmp_path):
    rng = np.random.default_rng(0)
    tree = {
        "train/sad": [rng.integers(0, 256, (60, 90, 3)).astype(np.uint8)],
        "train/neutral": [rng.integers(0, 256, (30, 20)).astype(np.uint8)],
    }
    options = {
        "source": "folders",
        "source_options": {},
        "categories": ["sad"],
        "videos": {"train": 1},
        "size": 32,
    }
    reader = planted(class_folders(tmp_path, tree), **options)
    assert reader.render("train/000000", range(105)).shape == (105, 32, 32)


# Frames


def test_frames_are_the_same_whichever_others_are_rendered_with_them(reader, rows):
    rng = np.random.default_rng(0)
    for row in rows.select([0, 5, 50, 71]):
        whole = reader.render(row["video"], np.arange(105))
        assert whole.dtype == np.uint8
        assert whole.shape == (105, 48, 48)
        for index in ([0], [104], rng.permutation(105), rng.integers(0, 105, 35), range(40, 45)):
            np.testing.assert_array_equal(reader.render(row["video"], index), whole[list(index)])


def test_another_reader_of_more_videos_makes_the_same_ones_and_another_seed_makes_others(reader, rows):
    more = planted(videos={"train": 60, "test": 24})
    longer = more.read()
    assert longer.select(range(48)).to_list() == rows.select(range(48)).to_list()
    for video in ("train/000007", "test/000003"):
        frames = reader.render(video, [3, 50])
        np.testing.assert_array_equal(more.render(video, [3, 50]), frames)
        assert (planted(seed=1).render(video, [3, 50]) != frames).mean() > 0.5


def test_videos_differ_in_plants_and_in_everything_that_drifts(reader):
    names = [f"{split}/{number:06d}" for split in ("train", "test") for number in range(24)]
    assert len({reader.render(name, [52]).tobytes() for name in names}) == 48


def test_without_nuisances_all_frames_outside_the_stretch_are_one_and_those_inside_come_and_go():
    reader = planted(**STILL, strength=[1.0, 1.0], stretch=[20, 20])
    for row in reader.read().select(range(12)):
        frames = reader.render(row["video"], range(105)).astype(int)
        outside = np.r_[0 : row["start"], row["stop"] : 105]
        assert (frames[outside] == frames[outside[0]]).all()
        away = np.abs(frames - frames[outside[0]]).mean((1, 2))[row["start"] : row["stop"]]
        assert away[0] > 0
        np.testing.assert_allclose(away, away[::-1], atol=0.6)
        assert (np.diff(away[: int(20 * FADE)]) > 0).all()
        assert away.argmax() in range(7, 13)


def test_the_weight_of_the_expression_is_a_smoothstep_up_a_plateau_and_the_same_down():
    plant = Plant(10, 30, 0.8)
    expected = []
    for frame in range(40):
        position = (frame + 0.5 - 10) / 20
        ramp = min(1.0, max(0.0, min(position, 1 - position) / 0.35))
        expected.append(0.8 * (3 * ramp**2 - 2 * ramp**3))
    np.testing.assert_allclose(plant.weight(np.arange(40)), expected, atol=1e-6)
    assert [frame for frame, weight in enumerate(expected) if weight > 0] == list(range(10, 30))
    assert plant.weight(np.array([plant.peak]))[0] == pytest.approx(0.8)


TWO = np.random.default_rng(3).integers(60, 196, (2, 48, 48)).astype(np.uint8)


def frames_of(**measures):
    return render_frames(
        TWO, Plant(100, 105), np.arange(105), 105, Nuisances(**STILL | measures), [1]
    ).astype(int)


@pytest.mark.parametrize("nuisance", ["light", "blur", "noise", "motion", "occlusion"])
def test_each_nuisance_changes_the_frames_and_twice_of_it_changes_them_more(nuisance):
    still = frames_of()[:100]
    assert (still == still[0]).all()
    once, twice = (np.abs(frames_of(**{nuisance: measure})[:100] - still).mean() for measure in (1.0, 2.0))
    assert 0.5 < once < twice


def test_noise_is_new_in_every_frame_and_as_strong_as_said():
    noise = (frames_of(noise=1.0)[:100] - frames_of()[:100]).reshape(100, -1)
    assert noise.std() == pytest.approx(0.03 * 255, rel=0.03)
    assert abs(noise.mean()) < 0.5
    likeness = np.corrcoef(noise) - np.eye(100)
    assert np.abs(likeness).max() < 0.12


def test_light_and_motion_drift_rather_than_jump():
    for nuisance in ("light", "motion"):
        smooth = np.kron(TWO[:, 6:42:12, 6:42:12], np.ones((16, 16))).astype(np.uint8)
        frames = render_frames(
            smooth, Plant(100, 105), np.arange(100), 105, Nuisances(**STILL | {nuisance: 1.0}), [2]
        ).astype(float)
        steps = np.abs(np.diff(frames, axis=0)).mean((1, 2))
        assert steps.max() < 8
        assert np.abs(frames - frames[0]).mean((1, 2)).max() > 2 * steps.max()


def test_motion_is_bilinear_sampling_of_a_turned_scaled_and_shifted_picture():
    from emozoo_datasets.planted_frames import _moved

    drift = {name: np.float32([0.7, -0.4])[:, None, None] for name in ("roll", "zoom", "shift_x", "shift_y")}
    drift["shift_y"] = -drift["shift_y"]
    moved = _moved(np.stack([TWO[0], TWO[0]]).astype(np.float32), drift, 1.0)
    for frame, amount in enumerate((0.7, -0.4)):
        angle, zoom, reach = np.deg2rad(8 * amount), 1 + 0.06 * amount, 0.05 * 48 * amount
        for i, j in ((24, 24), (3, 40), (30, 7), (0, 0), (47, 20)):
            x, y = j + 0.5 - 24, i + 0.5 - 24
            u = (np.cos(angle) * x + np.sin(angle) * y) / zoom + 23.5 + reach
            v = (np.cos(angle) * y - np.sin(angle) * x) / zoom + 23.5 - reach
            assert moved[frame, i, j] == pytest.approx(bilinear(TWO[0], v, u), abs=0.3)


def bilinear(picture, v, u):
    v, u = min(max(v, 0), 47), min(max(u, 0), 47)
    total = 0.0
    for i in range(48):
        for j in range(48):
            total += max(0, 1 - abs(v - i)) * max(0, 1 - abs(u - j)) * picture[i, j]
    return total


def test_both_faces_get_the_brightness_and_contrast_that_they_have_on_average():
    dark, bright = np.float32(TWO[0]) / 4, np.float32(TWO[1]) / 2 + 100
    faces = np.stack([dark, bright]).astype(np.uint8)
    frames = render_frames(faces, Plant(0, 11), np.array([5, 50]), 105, Nuisances(**STILL), [1]).astype(float)
    for frame in frames:
        assert frame.mean() == pytest.approx(faces.mean((1, 2)).mean(), abs=1)
        assert frame.std() == pytest.approx(faces.std((1, 2)).mean(), rel=0.03)


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"stretch": [30, 18]},
            r"stretch must be two numbers from 1 to a third of length \(35\).*\[30, 18\]",
        ),
        ({"stretch": [18]}, r"data\.stretch\.1: missing"),
        ({"stretch": [10, 36]}, r"it is \[10, 36\]"),
        ({"strength": [0.0, 1.0]}, r"strength must be two numbers in \(0, 1\]"),
        ({"categories": ["happy", "Happiness"]}, "categories must be distinct; they are happy, Happiness"),
        ({"light": -1.0}, "data.light"),
        ({"videos": {"train": 0}}, "data.videos"),
        ({"source_options": {"sizes": 3}}, r"data\.source_options\.sizes.*size"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(RecipeError, match=message):
        planted(**options)


def test_what_the_source_lacks_is_named(tmp_path):
    with pytest.raises(DataError, match="no pictures in a split 'dev'; it has: train, test"):
        planted(videos={"dev": 3}).read()
    with pytest.raises(DataError, match="the source has no label 'contempt'; it has: angry, disgust"):
        planted(categories=["contempt"]).read()
    tree = {"train/sad": [TWO[0]], "train/neutral": [TWO[1]], "test/sad": [TWO[0] // 2]}
    few = planted(
        class_folders(tmp_path, tree), source="folders", source_options={}, categories=["sad"], videos=None
    )
    with pytest.raises(DataError, match="the split 'test' of the source has no picture of neutral"):
        few.read()
    assert [(f.severity, f.subject) for f in few.check()] == [("error", "source")]


def test_a_source_of_videos_is_refused():
    inner = {"source": "synthetic", "source_options": FACES}
    with pytest.raises(DataError, match="holds no still images; name a reader of still images"):
        planted(source="planted", source_options=inner).read()


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    root = class_folders(tmp_path, {"train/sad": [TWO[0]], "train/neutral": [TWO[1]]})
    (root / "train" / "sad" / "0.png").write_bytes(b"\x89PNG no")
    reader = planted(root, source="folders", source_options={}, categories=["sad"], videos={"train": 1})
    with pytest.raises(DataError, match=r"train/sad/0\.png' cannot be decoded"):
        reader.read()


def test_a_video_or_frame_that_is_not_there_is_named(reader):
    with pytest.raises(DataError, match=r"no planted video 'dev/000001'; its splits are train, test"):
        reader.render("dev/000001", [0])
    with pytest.raises(DataError, match="no planted video 'train/first'"):
        reader.render("train/first", [0])
    with pytest.raises(DataError, match="has the frames 0 to 104, not all of"):
        reader.render("train/000001", [104, 105])


def test_check_says_what_videos_are_made_of(reader):
    said = {(f.severity, f.subject): f.message for f in reader.check() if "made of" in f.message}
    assert said["info", "train"].startswith("made of pictures in 20 casts: angry 30, disgust 30")
    assert said["info", "test"].endswith("neutral 10")


def test_no_option_is_hidden_by_a_key_that_a_recipes_data_table_has_itself():
    from emozoo.options import option_names
    from emozoo.recipe import Data

    assert not set(option_names(Planted)) & set(Data.model_fields)


def test_nothing_on_disk_is_recognised(tmp_path):
    assert Planted.recognises(tmp_path) is False


def test_videos_of_fer2013_are_made_of_both_splits_and_clean_ones_of_fewer_pictures(real_data):
    options = {"source": "fer2013", "videos": {"train": 60, "public_test": 60}}
    reader = planted(real_data / "fer2013", **options, source_options={"annotation": "ferplus-majority"})
    rows = reader.read()
    assert Counter(rows["split"]) == {"train": 60, "public_test": 60}
    frames = reader.render("public_test/000011", range(0, 105, 3))
    assert frames.shape == (35, 48, 48)
    train, public = ({p.tobytes() for p in pool.pictures} for pool in reader._pools.values())
    assert len(train) > 20000
    assert not train & public
