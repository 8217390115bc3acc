"""MAFW: clips of films, series and short videos in eleven categories, in five folds."""

from __future__ import annotations

from typing import ClassVar

from emozoo_datasets.listed_videos import ListedVideos


class Mafw(ListedVideos):
    """Kind `dataset`: MAFW's clips with one label, in five folds and eleven categories (Liu et al. 2022).

    Lists: the original's (`single/no_caption/set_1/test.txt`: `00025.mp4 anger`; those with captions too), or
    those that others made of them, with numbers: DFER-CLIP's (`MAFW_set_1_test.txt`), S2D's (`set_1/test.csv`)
    and MAE-DFER's (`split01/test.csv`) are in three different orders. What numbers stand for is read off an index
    beside the lists, such as S2D's; else the option `numbers` must say. Lists with class names are preferred where
    both are there; lists of compound emotions are left out. Clips: `00025.mp4`, or `00025/*` of frames, which are
    preferred.

    The column `fold` is the fold that a clip is tested in; there are no other splits.
    """

    title: ClassVar[str] = "MAFW"
    licence: ClassVar[str] = (
        "For non-commercial research only, under an agreement signed with its authors; it may not be passed on."
    )
    citation: ClassVar[str] = (
        "Liu et al. (2022), MAFW: A Large-scale, Multi-modal, Compound Affective Database for Dynamic Facial "
        "Expression Recognition in the Wild, ACM Multimedia."
    )
    labels: ClassVar[tuple[str, ...]] = (
        "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "contempt", "anxiety", "helplessness",
        "disappointment",
    )  # fmt: skip
    folds = 5
    digits = 5
    preferred = ("faces", "frames", "clips")
    mark = r"mafw|caption"
