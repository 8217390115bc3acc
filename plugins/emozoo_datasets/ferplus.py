"""FER+: ten people's votes for each FER2013 image, and the labels made of them.

Barsoum, Zhang, Canton Ferrer & Zhang (2016), "Training Deep Networks for Facial Expression Recognition with
Crowd-Sourced Label Distribution", ICMI; the thresholds are those of the authors' published code.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emozoo.labels import FER2013_LABELS, canonical
from emozoo_datasets.image_checks import Report
from emozoo_datasets.image_folders import split_of

Floats = NDArray[np.floating]

VOTES = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
"""What was voted for, in FER+'s order; NF is "not a face"."""

EMOTIONS = 8
"""The first eight of VOTES are emotions."""

NOT_FACE = VOTES.index("NF")
LABELS = (*FER2013_LABELS, "contempt")
_ORDER = [[canonical(vote) for vote in VOTES].index(label) for label in LABELS]


def read_votes(path: Path, report: Report) -> tuple[list[str | None], Floats]:
    """Read fer2013new.csv, whose rows are in the order of fer2013.csv.

    Returns:
        The split of each row, and the votes (N, 10); a row that cannot be read has NaN.
    """
    splits: list[str | None] = []
    votes: list[list[float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file)
            missing = [name for name in ("Usage", *VOTES) if name not in (reader.fieldnames or ())]
            if missing:
                report(str(path), f"lacks the column(s) {', '.join(missing)}; give FER+'s fer2013new.csv")
                return splits, np.empty((0, len(VOTES)), np.float32)
            for record in reader:
                splits.append(split_of(record["Usage"] or ""))
                try:
                    votes.append([float(record[name]) for name in VOTES])
                except (TypeError, ValueError):
                    report(f"{path}, line {reader.line_num}", "a vote is missing or no number; mend the row")
                    votes.append([np.nan] * len(VOTES))
    except OSError as error:
        report(str(path), f"the FER+ votes cannot be read ({error}); correct the option ferplus")
    return splits, np.array(votes, np.float32).reshape(-1, len(VOTES))


def majority(votes: Floats, contempt: bool) -> Floats:
    """Return the label of more than half of the votes, one-hot (N, 7 or 8); NaN where there is none.

    Votes that only one person gave do not count. An image whose majority is unknown, no face, or contempt
    where that is no label, has no label.
    """
    counted = _without_outliers(votes)
    winner = counted == counted.max(1, keepdims=True)
    return _labels(np.where(winner & (2 * counted > counted.sum(1, keepdims=True)), 1.0, 0.0), contempt)


def probability(votes: Floats, contempt: bool) -> Floats:
    """Return the distribution (N, 7 or 8) over the emotions most voted for; NaN where votes settle nothing.

    Votes that only one person gave do not count. Emotions are taken by falling votes, equal ones together,
    until they hold 75 % of what counts or are three, and none with fewer votes than unknown or no face. Those
    taken must be no more than three and hold more than half of what counts. Where contempt is no label, its
    share is dropped, and an image that it leads has no label.
    """
    counted = _without_outliers(votes)
    total = counted.sum(1)
    ahead = counted[:, None, :] > counted[:, :, None]  # (N, 10, 10): what the last axis leads
    votes_ahead = (ahead * counted[:, None, :]).sum(2)
    taken = (counted > 0) & (votes_ahead < 0.75 * total[:, None]) & (ahead.sum(2) < 3)
    taken &= counted >= counted[:, EMOTIONS:].max(1, keepdims=True)
    taken[:, EMOTIONS:] = False
    held = np.where(taken, counted, 0.0)
    settled = (2 * held.sum(1) > total) & (taken.sum(1) <= 3)
    return _labels(held * settled[:, None], contempt)


def as_fer2013(votes: Floats, labels: NDArray[np.integer]) -> Floats:
    """Return the probabilities (N, 7) of FER2013's labels given the votes; NaN where nothing is known.

    FER+'s taggers and FER2013's labels name the same faces differently, in ways that can be learned: of ten
    votes for sadness a fifth is FER2013's fear. This is a multinomial logistic regression of the labels on the
    votes for each choice, their squares and their square roots, fitted to all rows that have both; where none
    has, nothing is known.

    Args:
        votes: (N, 10), NaN where unknown.
        labels: (N,), in the order of FER2013_LABELS; negative where unknown.
    """
    import torch

    share = torch.from_numpy(votes).double() / 10
    x = torch.cat([torch.ones(len(share), 1), share, share.square(), share.sqrt()], 1).nan_to_num()
    voted = ~np.isnan(votes).any(1)
    known = torch.from_numpy(voted & (labels >= 0))
    if not known.any():
        return np.full((len(votes), len(FER2013_LABELS)), np.nan)
    seen, target = x[known], torch.from_numpy(labels).long()[known]
    weights = torch.zeros(x.shape[1], len(FER2013_LABELS), dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=1000, max_eval=2000, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = torch.nn.functional.cross_entropy(seen @ weights, target) + 1e-5 * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    probabilities = (x @ weights.detach()).softmax(1).numpy()
    probabilities[~voted] = np.nan
    return probabilities


def not_a_face(votes: Floats) -> NDArray[np.bool_]:
    """Return (N,) whether more than half of the votes say that the image shows no face."""
    return 2 * votes[:, NOT_FACE] > votes.sum(1)


def _without_outliers(votes: Floats) -> Floats:
    return np.where(votes > 1, votes, 0.0)  # NaN becomes 0, too


def _labels(weights: Floats, contempt: bool) -> Floats:
    """Turn weights (N, 10) in FER+'s order into distributions in the order of LABELS; NaN where all are 0."""
    chosen = weights[:, _ORDER]
    if not contempt:
        leads = chosen[:, -1] > chosen[:, :-1].max(1)
        chosen = np.where(leads[:, None], 0.0, chosen)[:, :-1]
    total = chosen.sum(1, keepdims=True)
    return np.divide(chosen, total, out=np.full_like(chosen, np.nan), where=total > 0)
