"""Choosing a face detector, what it may be given and must give, its contract suite, and cutting faces out."""

from __future__ import annotations

import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import install

from emozoo import registry, testing
from emozoo.contracts import Faces
from emozoo.errors import (
    ContractError,
    CorruptModelError,
    DataError,
    DetectorUnavailableError,
    RecipeError,
    UnknownComponentError,
)
from emozoo.files import cache_folder
from emozoo.hashing import sha256
from emozoo.hub import parse
from emozoo.prediction import detection
from emozoo.prediction.faces import FaceDetector, crop_face, open_detector

FAULTY = Path(__file__).parents[1] / "faulty_detectors.py"
FRAME = np.zeros((90, 120, 3), np.uint8)
FRAME[20:61, 31:70] = 250
BOX = [31, 20, 70, 61]
WEIGHTS = b"weights of a detector"

NEEDY = """
from emozoo.contracts import DetectorFile, Faces
import numpy as np
class Weighed:
    needs = DetectorFile("w.onnx", {sha256!r}, "example.org")
    def __init__(self, *, file: str):
        self.file = file
    def detect(self, frame):
        return Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("EMOZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def faults(monkeypatch, tmp_path) -> str:
    """The classes of tests/faulty_detectors.py as detectors of a distribution, whose name is returned."""
    code = FAULTY.read_text()
    names = [
        line.split()[1].partition("(")[0].rstrip(":") for line in code.splitlines() if line[:6] == "class "
    ]
    points = {f"detectors/{name}": name for name in names}
    install(monkeypatch, tmp_path, "emozoo-facefaults", "1.0", points, code)
    return "emozoo-facefaults"


@pytest.fixture
def weighed(monkeypatch, tmp_path) -> str:
    """A detector that needs a file whose content is WEIGHTS."""
    code = NEEDY.format(sha256=hashlib.sha256(WEIGHTS).hexdigest())
    install(monkeypatch, tmp_path, "emozoo-weighed", "1.0", {"detectors/weighed": "Weighed"}, code)
    return "weighed"


def put(content: bytes) -> Path:
    path = cache_folder("detectors") / "w.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_auto_takes_the_best_that_can_be_used_and_says_which_and_why_not_a_better_one():
    found = open_detector()
    assert found.name == "emozoo:dlib"
    assert list(found.passed_over) == ["yunet"]
    assert str(cache_folder("detectors")) in found.passed_over["yunet"]
    assert "--faces-file PATH" in found.passed_over["yunet"]


def test_auto_passes_over_what_lacks_an_option_that_is_given(real_data):
    found = open_detector(upsample=1)
    assert (found.name, found.passed_over["yunet"]) == ("emozoo:dlib", "it has no option upsample")
    file = real_data / "detectors" / "yunet_n_320_320.onnx"
    assert open_detector(file=str(file)).name == "emozoo:yunet"


def test_auto_finds_the_file_of_the_best_detector_in_its_folder(real_data, monkeypatch):
    given = real_data / "detectors" / "yunet_n_320_320.onnx"  # its authors' file in place of OpenCV's
    yunet = registry.load(registry.find("detector", "yunet"))
    monkeypatch.setattr(yunet, "needs", replace(yunet.needs, name=given.name, sha256=sha256(given)))
    cache_folder("detectors").mkdir(parents=True)
    (cache_folder("detectors") / given.name).symlink_to(given)
    found = open_detector()
    assert (found.name, found.passed_over) == ("emozoo:yunet", {})


def test_auto_passes_over_a_detector_whose_file_its_library_does_not_read(monkeypatch):
    yunet = registry.load(registry.find("detector", "yunet"))
    monkeypatch.setattr(yunet, "needs", replace(yunet.needs, sha256=hashlib.sha256(WEIGHTS).hexdigest()))
    put(WEIGHTS).rename(cache_folder("detectors") / yunet.needs.name)
    found = open_detector()
    assert found.name == "emozoo:dlib"
    assert "is not YuNet as an ONNX file" in found.passed_over["yunet"]
    with pytest.raises(DataError, match="is not YuNet as an ONNX file"):
        open_detector(file=str(cache_folder("detectors") / yunet.needs.name))


def test_the_file_of_yunet_is_pinned_to_a_commit_of_the_hub():
    needs = registry.load(registry.find("detector", "yunet")).needs
    assert parse(needs.hub).pinned
    assert len(needs.sha256) == 64


def test_no_file_is_fetched_for_a_library_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr(
        "emozoo.prediction.faces.find_file", lambda *given: pytest.fail("the file would be of no use")
    )
    found = open_detector()
    assert found.name == "emozoo:dlib"
    assert found.passed_over == {"yunet": 'yunet needs OpenCV: pip install "emozoo[faces]"'}


def test_where_no_detector_can_be_used_the_error_says_why_of_each_and_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(DetectorUnavailableError) as caught:
        open_detector()
    said = str(caught.value)
    assert "yunet: yunet needs face_detection_yunet_2023mar.onnx" in said
    assert 'dlib: dlib cannot be imported: pip install "dlib-bin>=20"' in said
    assert "--faces none" in said


def test_auto_imports_no_detector_of_others_however_they_recommend_themselves(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "emozoo-vain", "1.0", {"detectors/vain": "Vain"}, "raise SystemExit(3)")
    assert open_detector().name == "emozoo:dlib"
    assert "emozoo_vain" not in sys.modules


def test_a_detector_is_found_by_name_and_its_options_are_checked():
    assert open_detector("emozoo:dlib").name == "emozoo:dlib"
    assert open_detector("dlib").passed_over == {}
    with pytest.raises(UnknownComponentError, match=r"no detector is called 'dlip'\. Did you mean 'dlib'"):
        open_detector("dlip")
    with pytest.raises(RecipeError, match=r"faces\.upsampel: unknown key\. Did you mean 'upsample'"):
        open_detector("dlib", upsampel=1)
    with pytest.raises(RecipeError, match=r"wrong options of faces:\n.*max_side"):
        open_detector("dlib", max_side=0)


def test_a_file_that_a_detector_needs_is_taken_from_the_folder_only_if_it_is_the_right_one(weighed, tmp_path):
    path = put(WEIGHTS)
    assert open_detector(weighed).detector.file == str(path)
    own = tmp_path / "own.onnx"
    assert open_detector(weighed, file=str(own)).detector.file == str(own)
    path.write_bytes(WEIGHTS[::-1])
    with pytest.raises(CorruptModelError, match=r"w\.onnx is not the file that weighed needs .*; replace or"):
        open_detector(weighed)


def test_a_file_that_is_nowhere_ends_in_an_error_with_the_ways_on(weighed):
    with pytest.raises(DetectorUnavailableError) as caught:
        open_detector(weighed)
    said = str(caught.value)
    assert f"weighed needs w.onnx (sha256 {hashlib.sha256(WEIGHTS).hexdigest()})" in said
    assert f"not in {cache_folder('detectors')}, and no commit on the Hub is known for it" in said
    assert "get it from example.org" in said


def test_the_faces_of_a_frame_come_the_largest_first_and_a_grey_frame_is_a_frame():
    boxes = np.asarray([[0, 0, 4, 4], [0, 0, 9, 9], [9, 9, 13, 13], [0, 0, 5, 6]], np.float32)
    scores = np.asarray([0.9, 0.1, 0.5, 0.7], np.float32)

    class Fixed:
        def detect(self, frame: np.ndarray) -> Faces:
            self.frame = frame
            return Faces(boxes, scores, np.repeat(boxes[:, None, :2], 5, axis=1))

    finder = FaceDetector("fixed", {}, Fixed())
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for frame in (grey, np.stack([grey] * 3, -1)):
        found = finder.detect(frame)
        assert found.boxes.tolist() == boxes[[1, 3, 0, 2]].tolist()
        assert found.scores.tolist() == scores[[1, 3, 0, 2]].tolist()
        assert found.landmarks[:, 0].tolist() == boxes[[1, 3, 0, 2], :2].tolist()
        assert finder.detector.frame.tolist() == np.stack([grey] * 3, -1).tolist()


class Busy:
    """A detector that notes how many threads are in it at most."""

    def __init__(self) -> None:
        self.inside = self.most = 0

    def detect(self, frame: np.ndarray) -> Faces:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.01)
        self.inside -= 1
        return Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def test_a_detector_serves_one_thread_at_a_time():
    finder = FaceDetector("busy", {}, Busy())
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(finder.detect, [FRAME] * 12))
    assert finder.detector.most == 1


def test_what_keeps_threads_apart_is_no_part_of_what_a_detector_is():
    busy = Busy()
    finder = FaceDetector("busy", {}, busy, {"threshold": 1})
    assert finder == FaceDetector("busy", {}, busy, {"threshold": 1})
    assert "lock" not in repr(finder).lower()


def test_a_detector_that_many_threads_ask_for_is_opened_once(monkeypatch):
    opened = []

    def slow(name: str) -> FaceDetector:
        opened.append(name)
        time.sleep(0.05)
        return FaceDetector(name, {}, Busy())

    detection._opened.cache_clear()
    monkeypatch.setattr(detection, "open_detector", slow)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(detection.find_detector, ["busy"] * 4))
    detection._opened.cache_clear()
    assert opened == ["busy"]
    assert all(one is found[0] for one in found)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME.astype(float),
        FRAME[..., :2],
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((2, 9, 9, 3), np.uint8),
        "a.png",
    ],
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(
        DataError, match=r"faces are looked for in frames uint8 \(H, W, 3\) RGB or \(H, W\) grey"
    ):
        open_detector("dlib").detect(frame)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Boxless", r"detector 'emozoo-facefaults:Boxless': detect returned a ndarray, not"),
        ("Double", r"boxes are \('float64', \(1, 4\)\), not float32 \(1, 4\)"),
        ("WidthHeight", None),
        ("Unsure", r"scores are not finite"),
        ("Pointless", r"landmarks are \('float32', \(1, 5\)\), not float32 \(1, 5, 2\)"),
    ],
)
def test_what_a_detector_gives_is_checked_when_it_is_used(faults, name, message):
    detector = open_detector(f"{faults}:{name}")
    if message is None:  # a box that is wrong need not look it: that is what the contract suite is for
        assert len(detector.detect(FRAME)) == 1
        return
    with pytest.raises(ContractError, match=message):
        detector.detect(FRAME)


def test_the_contract_suite_passes_a_good_detector(faults):
    testing.check_detector(f"{faults}:Good", frame=FRAME)
    testing.check_detector(f"{faults}:Good", {"threshold": 251}, frame=FRAME, faces=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Boxless", r"detect returned a ndarray, not emozoo\.contracts\.Faces"),
        ("Flat", r"boxes are \('float32', \(0,\)\), not float32 \(0, 4\)"),
        ("Double", r"boxes are \('float64', "),
        ("WidthHeight", r"in the mirrored picture the faces are not where the mirror puts them"),
        ("Unsure", r"scores are not finite"),
        ("Pointless", r"landmarks are .* not float32"),
        ("Paints", r"it changes the frame it is given\. Draw and scale on a copy"),
        ("Remembers", r"the same frame gives different faces"),
        ("Small", r"in the mirrored picture the faces are not where the mirror puts them"),
        ("Raw", r"a frame that is not contiguous in memory gives other faces"),
        ("Picky", r"detect\(\) of a frame \(1, 1, 3\) raised ValueError: too small"),
        ("Blind", r"it finds 0 faces in a picture of 1"),
        ("Needy", r"needs is 'a file'\. Say which file it needs"),
        ("Careless", r"option 'threshold' takes .* alike"),
    ],
)
def test_a_fault_of_a_detector_is_found_and_named(faults, name, message):
    with pytest.raises(ContractError, match=message):
        testing.check_detector(f"{faults}:{name}", frame=FRAME)


def test_a_detector_that_needs_a_file_must_have_an_option_for_it(faults):
    with pytest.raises(DetectorUnavailableError, match=r"Handless needs w\.onnx"):
        testing.check_detector(f"{faults}:Handless")


def cut(frame: np.ndarray, box: list[float], margin: float) -> np.ndarray:
    """`crop_face`, pixel by pixel."""
    x0, y0, x1, y1 = box
    side = round(max(x1 - x0, y1 - y0) * (1 + 2 * margin))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    crop = np.zeros((side, side, *frame.shape[2:]), np.uint8)
    for row in range(side):
        for column in range(side):
            y = min(max(top + row, 0), frame.shape[0] - 1)
            x = min(max(left + column, 0), frame.shape[1] - 1)
            crop[row, column] = frame[y, x]
    return crop


@pytest.mark.parametrize(
    "box", [[10, 5, 30, 35], [-8.4, -3.2, 11.7, 20], [30, 30, 60, 45.5], [90, 90, 99, 99], [3, 3, 4, 4]]
)
@pytest.mark.parametrize("margin", [0.0, 0.25, 1.5, -0.2])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_crop_is_a_square_around_the_box_that_goes_on_beyond_the_border(box, margin, channels):
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, *channels), np.uint8)
    crop = crop_face(frame, np.asarray(box, np.float32), margin)
    np.testing.assert_array_equal(crop, cut(frame, [float(np.float32(value)) for value in box], margin))
    assert crop.shape[0] == crop.shape[1]
    assert not np.shares_memory(crop, frame)


@pytest.mark.parametrize(
    ("box", "margin"),
    [
        ([5, 5, 5, 9], 0.0),
        ([5, 5, 9, 4], 0.0),
        ([0, 0, np.nan, 9], 0.0),
        ([0, 0, np.inf, 9], 0.0),
        ([0, 0, 9, 9], -0.5),
    ],
)
def test_nothing_is_cut_out_of_no_box(box, margin):
    with pytest.raises(DataError, match=r"no face can be cut out: box \(.*\), margin"):
        crop_face(FRAME, np.asarray(box), margin)
