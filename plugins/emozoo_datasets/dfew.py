"""DFEW: clips of films in seven categories, in five folds."""

from __future__ import annotations

from typing import ClassVar

from emozoo_datasets.listed_videos import ListedVideos


class Dfew(ListedVideos):
    """Kind `dataset`: DFEW's 11,697 clips with one label, in five folds (Jiang et al. 2020).

    Lists: the original's (`EmoLabel_DataSplit/test(single-labeled)/set_1.csv`, or `single_testset_1.csv`, labels
    from 1), or those that others made of them, with labels from 0: S2D's (`test_set_1.csv`), Former-DFER's and
    DFER-CLIP's (`DFEW_set_1_test.txt`: path, frames, label), MAE-DFER's (`split01/test.csv`: path, label). What
    numbers stand for is read off the number of clips of each class, or off the original's count from 1; else the
    option `numbers` must say. Frames: `00001/*`, numbered in any way, of the first of `preferred` that is there.

    The column `fold` is the fold that a clip is tested in; there are no other splits.
    """

    title: ClassVar[str] = "DFEW"
    licence: ClassVar[str] = (
        "For academic research only, under an agreement signed with its authors; it may not be passed on."
    )
    citation: ClassVar[str] = (
        "Jiang et al. (2020), DFEW: A Large-Scale Database for Recognizing Dynamic Facial Expressions in the "
        "Wild, ACM Multimedia."
    )
    labels: ClassVar[tuple[str, ...]] = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
    folds = 5
    digits = 5
    preferred = ("clip_224x224", "dfew_frame_face", "dfew_face", "data", "jpg_256", "clip_224x224_16f")
    counts = (2445, 1894, 2669, 2173, 1469, 145, 902)
    numbered_from_one = True
    mark = r"dfew|emolabel|single-?_?label|single_\*set"
