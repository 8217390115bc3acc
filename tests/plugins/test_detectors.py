"""The two face detectors on real photos and videos, and what their options do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emozoo import registry, testing
from emozoo.contracts import Detector, Faces
from emozoo.data.preprocess import open_image
from emozoo.data.video import read_frames
from emozoo.errors import DataError, DetectorUnavailableError
from emozoo.prediction.faces import FaceDetector, open_detector

YUNET = "yunet_n_320_320.onnx"
"""Its authors' file, on which it is tested."""
NEEDED = "face_detection_yunet_2023mar.onnx"
"""OpenCV's, which is fetched."""
PHOTOS = {  # faces in it, found by yunet, found by dlib
    "BWPictureHuman.jpg": (1, 1, 0),
    "Image_with_alpha.png": (1, 1, 1),
    "free-mountain-vector-01.jpg": (0, 0, 0),
    "multi_face.jpg": (5, 5, 4),
    "single_face.jpg": (1, 1, 1),
}
VIDEOS = {  # frames, and those in which a face is seen
    "WolfgangLanger_Pexels.mp4": (472, range(472)),
    "face_noface.mov": (169, range(72)),
    "no_face.mp4": (95, range(0)),
    "noface_face.mov": (169, range(96, 168)),
    "single_face.mp4": (72, range(72)),
}


@pytest.fixture(scope="module")
def yunet(real_data: Path) -> FaceDetector:
    return open_detector("yunet", file=str(real_data / "detectors" / YUNET))


@pytest.fixture(scope="module")
def dlib() -> FaceDetector:
    return open_detector("dlib")


def build(name: str, real_data: Path, **options: object) -> Detector:
    file = {"file": str(real_data / "detectors" / YUNET)} if name == "yunet" else {}
    return registry.build("detector", name, {**file, **options}, where="faces")


def photo(real_data: Path, name: str) -> np.ndarray:
    return np.asarray(open_image(real_data / "media" / name, name).convert("RGB"))


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (n, 4) and (m, 4), as (n, m), box by box."""
    table = np.zeros((len(first), len(second)))
    for i, (a0, b0, a1, b1) in enumerate(first.tolist()):
        for j, (c0, d0, c1, d1) in enumerate(second.tolist()):
            both = max(0, min(a1, c1) - max(a0, c0)) * max(0, min(b1, d1) - max(b0, d0))
            table[i, j] = both / ((a1 - a0) * (b1 - b0) + (c1 - c0) * (d1 - d0) - both)
    return table


@pytest.mark.parametrize("name", PHOTOS)
def test_yunet_finds_every_face_of_the_photos_and_dlib_the_frontal_ones(yunet, dlib, real_data, name):
    frame = photo(real_data, name)
    there, by_yunet, by_dlib = PHOTOS[name]
    assert there == by_yunet
    assert (len(yunet.detect(frame)), len(dlib.detect(frame))) == (by_yunet, by_dlib)


def test_there_is_a_claim_about_every_file_of_the_media(real_data):
    assert {path.name for path in (real_data / "media").iterdir()} == {*PHOTOS, *VIDEOS}


@pytest.mark.parametrize("name", VIDEOS)
def test_both_say_of_every_frame_of_the_videos_that_is_tried_whether_a_face_is_there(
    yunet, dlib, real_data, name
):
    frames, faces = VIDEOS[name]
    around = {edge + side for edge in (faces.start, faces.stop) for side in (-1, 0) if faces}
    index = sorted(number for number in {*range(0, frames, 30), frames - 1, *around} if 0 <= number < frames)
    shown = [int(number in faces) for number in index]
    pixels = read_frames(real_data / "media" / name, np.asarray(index))
    assert [len(found) for found in map(yunet.detect, pixels)] == shown
    assert [len(found) for found in map(dlib.detect, pixels)] == shown


def test_the_boxes_of_both_detectors_mean_the_same(yunet, dlib, real_data):
    heights = []
    for name in ("multi_face.jpg", "single_face.jpg", "Image_with_alpha.png"):
        frame = photo(real_data, name)
        first, second = yunet.detect(frame).boxes, dlib.detect(frame).boxes
        table = overlaps(second, first)
        assert (table.max(1) > 0.55).all(), table
        best = table.argmax(1)
        heights += ((second[:, 3] - second[:, 1]) / (first[best, 3] - first[best, 1])).tolist()
    assert 0.9 < np.mean(heights) < 1.1


def test_landmarks_lie_in_their_box_and_in_the_order_that_the_contract_names(yunet, real_data):
    found = yunet.detect(photo(real_data, "multi_face.jpg"))
    assert found.landmarks is not None
    low, high = found.boxes[:, None, :2], found.boxes[:, None, 2:]
    assert ((found.landmarks > low) & (found.landmarks < high)).all()
    right_eye, left_eye, nose, right_mouth, left_mouth = found.landmarks.transpose(1, 0, 2)
    assert (right_eye[:, 0] < left_eye[:, 0]).all()
    assert (right_mouth[:, 0] < left_mouth[:, 0]).all()
    assert (nose[:, 1] > (right_eye + left_eye)[:, 1] / 2).all()
    assert (nose[:, 1] < (right_mouth + left_mouth)[:, 1] / 2).all()


@pytest.mark.parametrize("name", ["yunet", "dlib"])
@pytest.mark.parametrize("side", [400, 333])
def test_a_large_frame_is_shrunk_and_its_boxes_are_scaled_back_exactly(real_data, name, side):
    """The boxes are those of the shrunk frame, which is made here by itself, times the ratio of the two shapes."""
    frame = photo(real_data, "multi_face.jpg")[:500, :901]
    height, width = frame.shape[:2]
    size = side, round(height * side / width)
    if name == "yunet":
        import cv2

        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    else:
        small = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))
    options = {} if name == "yunet" else {"upsample": 1}
    shrunk = build(name, real_data, max_side=side, **options).detect(frame)
    direct = build(name, real_data, max_side=4000, **options).detect(small)
    assert len(shrunk) == len(direct) >= 2
    ratio = np.asarray([width / size[0], height / size[1]] * 2)
    np.testing.assert_allclose(shrunk.boxes, direct.boxes * ratio, rtol=1e-6)
    np.testing.assert_array_equal(shrunk.scores, direct.scores)
    if direct.landmarks is not None:
        np.testing.assert_allclose(shrunk.landmarks, direct.landmarks * ratio[:2], rtol=1e-6)


@pytest.mark.parametrize("name", ["yunet", "dlib"])
def test_threshold_and_smallest_size_leave_out_what_is_below_them(real_data, name):
    frame = photo(real_data, "multi_face.jpg")[:500]
    every = build(name, real_data).detect(frame)
    threshold = float(np.sort(every.scores)[2]) - 1e-4
    sure = build(name, real_data, threshold=threshold).detect(frame)
    assert sorted(sure.scores.tolist()) == sorted(every.scores[every.scores >= threshold].tolist())
    sides = (every.boxes[:, 2:] - every.boxes[:, :2]).min(1)
    size = float(np.sort(sides)[2])
    large = build(name, real_data, min_size=size).detect(frame)
    assert len(large) == (sides >= size).sum() < len(every)


def test_dlib_finds_smaller_faces_in_a_frame_that_is_doubled(real_data):
    frame = np.asarray(Image.fromarray(photo(real_data, "single_face.jpg")).resize((143, 140)))
    assert len(build("dlib", real_data).detect(frame)) == 0
    assert len(build("dlib", real_data, upsample=1).detect(frame)) == 1


@pytest.mark.parametrize(("name", "faces"), [("yunet", 5), ("dlib", 4)])
def test_both_keep_the_contract_on_a_picture_with_faces(real_data, name, faces):
    options = {"file": str(real_data / "detectors" / YUNET)} if name == "yunet" else {}
    testing.check_detector(name, options, frame=photo(real_data, "multi_face.jpg"), faces=faces)


def test_opencv_uses_as_many_threads_as_torch_and_finds_the_same_with_any(real_data):
    import cv2

    before, frame = torch.get_num_threads(), photo(real_data, "multi_face.jpg")
    finder, boxes = build("yunet", real_data), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            boxes.append(finder.detect(frame).boxes)
            assert cv2.getNumThreads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(boxes[0], boxes[1], atol=1e-3)


@pytest.mark.parametrize("value", [0, 128])
def test_an_empty_frame_of_any_size_holds_no_face(yunet, dlib, value):
    sides = (1, 4, 31, 32, 33, 64, 300)
    for shape in [(height, width, 3) for height in sides for width in (*sides, 3000)]:
        frame = np.full(shape, value, np.uint8)
        assert len(yunet.detect(frame)) == len(dlib.detect(frame)) == 0, shape


def test_a_detector_may_be_given_frames_of_changing_sizes(yunet, real_data):
    single, several = (photo(real_data, name) for name in ("single_face.jpg", "multi_face.jpg"))
    alone = yunet.detect(single)
    yunet.detect(several)
    np.testing.assert_array_equal(yunet.detect(single).boxes, alone.boxes)


THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from PIL import Image
from emozoo.prediction.faces import open_detector

name, single, several, *file = sys.argv[1:]
finder = open_detector(name, **({"file": file[0]} if file else {}))
images = [Image.open(path).convert("RGB") for path in (single, several)]
frames = [np.asarray(image.resize((420, 420 * image.height // image.width))) for image in images]
alone = [finder.detect(frame).boxes.tolist() for frame in frames]
with ThreadPoolExecutor(4) as threads:
    found = list(threads.map(lambda turn: finder.detect(frames[turn % 2]).boxes.tolist(), range(12)))
assert found == alone * 6, "other faces than alone"
"""


@pytest.mark.parametrize("name", ["yunet", "dlib"])
def test_threads_that_share_a_detector_find_what_each_finds_alone(real_data, name):
    media = [str(real_data / "media" / photo) for photo in ("single_face.jpg", "multi_face.jpg")]
    file = [str(real_data / "detectors" / YUNET)] if name == "yunet" else []
    script = [sys.executable, "-c", THREADS, name, *media, *file]  # apart: the libraries end the process
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("content", [b"", b"no onnx", b"\x08\x07" * 500])
def test_a_file_that_is_not_yunet_is_named(tmp_path, content, real_data):
    path = tmp_path / "w.onnx"
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"{path} is not YuNet as an ONNX file of fixed size; that is {NEEDED}"
    ):
        open_detector("yunet", file=str(path))
    path.write_bytes((real_data / "detectors" / YUNET).read_bytes()[:200_000])
    with pytest.raises(DataError, match=rf"{path} is not YuNet"):
        open_detector("yunet", file=str(path))


def test_a_file_that_is_not_there_is_named_even_with_auto(tmp_path):
    for name in ("yunet", "auto"):
        with pytest.raises(DataError, match=rf"there is no file {tmp_path / 'w.onnx'}; YuNet's is {NEEDED}"):
            open_detector(name, file=str(tmp_path / "w.onnx"))


@pytest.mark.parametrize(
    ("name", "library", "what"), [("yunet", "cv2", r"emozoo\[faces\]"), ("dlib", "dlib", "dlib-bin>=20")]
)
def test_a_library_that_is_not_installed_is_named_with_the_line_that_installs_it(
    monkeypatch, real_data, name, library, what
):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DetectorUnavailableError, match=f'pip install "{what}"'):
        build(name, real_data)


def test_nothing_of_opencv_is_said_on_standard_error(real_data, capfd):
    assert isinstance(build("yunet", real_data).detect(np.zeros((64, 64, 3), np.uint8)), Faces)
    assert capfd.readouterr().err == ""
