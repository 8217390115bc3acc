"""FERV39k: clips of 22 kinds of scenes in seven categories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from emozoo.contracts import Finding
from emozoo.labels import canonical
from emozoo_datasets.image_checks import some
from emozoo_datasets.listed_videos import ListedVideos
from emozoo_datasets.video_reader import VideoEntry


class Ferv39k(ListedVideos):
    """Kind `dataset`: FERV39k's 38,935 clips, in a training and a test set (Wang et al. 2022).

    Lists: the original's (`4_setups/All_scenes/test_All.csv`: `Action/Happy/0267 Happy`), Former-DFER's and
    DFER-CLIP's (`FERV39K_test.txt`: path, frames, label), MAE-DFER's (`all_scenes/test.csv`: path, label) and S2D's
    (`Annotation/test.csv`), whose labels are in another order than the others': what numbers stand for is read off
    the folders, which are named by class. Frames: `<scene>/<class>/0267/*` below `2_ClipsforFaceCrop`.

    Splits are called train and test. For a single kind of scene, name the folder of its lists with `lists`.
    """

    title: ClassVar[str] = "FERV39k"
    licence: ClassVar[str] = (
        "For non-commercial research only, on request from a university's address; it may not be passed on."
    )
    citation: ClassVar[str] = (
        "Wang et al. (2022), FERV39k: A Large-Scale Multi-Scene Dataset for Facial Expression Recognition in "
        "Videos, CVPR."
    )
    labels: ClassVar[tuple[str, ...]] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    name_parts = 3
    preferred = ("2_clipsforfacecrop",)
    mark = r"ferv39k|all_scenes|\*_all\."

    def peculiarities(self, entries: Sequence[VideoEntry]) -> Iterable[Finding]:
        """Return also the clips whose label is not that of their folder."""
        yield from super().peculiarities(entries)
        wrong = [entry.id for entry in entries if canonical(entry.id.split("/")[-2]) != entry.label]
        if wrong:
            message = f"{len(wrong):,} clips have another label than their folder's name"
            yield Finding("error", some(wrong), message)
