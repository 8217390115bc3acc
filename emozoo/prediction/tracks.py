"""Linking the faces of successive frames into tracks with stable ids."""

from __future__ import annotations

import numpy as np

from emozoo.contracts import Faces
from emozoo.errors import DataError

REACH = 0.25
"""Boxes match only where their distance IoU is above -REACH; those of one size reach it a little more than one width
apart."""

STAYS = 0.5
"""Added to each match, so that matching more faces beats matching fewer of them more closely."""

GROWTH = 2.0
"""Factor by which the side of a box may differ from the one before; more is another face, or a cut."""

STEADY = 0.3
"""Share of the newest step in the estimate of a face's velocity, once it has been seen a few times."""


MISSED = 15
"""For how many frames in a row a face may be missing and still be the same."""


class Tracker:
    """Gives each face of each frame the id of its track, in one pass and in memory that does not grow.

    A face is expected where its last box and its velocity put it. Expected boxes and found ones are matched so that
    the sum of their distance IoU (Zheng et al., AAAI 2020), plus a constant for each match, is the largest. A face
    that is not found keeps its id for `max_gap` frames. Ids count from 0 in order of appearance and are not used
    again; the same faces give the same ids. Nothing is known of what faces look like: who leaves and comes back later
    gets a new id.

    Args:
        max_gap: for how many frames in a row a face may be missing and keep its id.
    """

    def __init__(self, *, max_gap: int = MISSED) -> None:
        if max_gap < 0:
            raise DataError(
                f"max_gap is {max_gap}: it is the number of frames, from 0, that a face may be missing"
            )
        self.max_gap = max_gap
        self._ids = np.zeros(0, np.int64)
        self._boxes = np.zeros((0, 4))
        self._velocity = np.zeros((0, 2))
        self._sightings = np.zeros(0, np.int64)
        self._seen = np.zeros(0, np.int64)
        self._next = 0
        self._index = -1

    def update(self, index: int, faces: Faces) -> np.ndarray:
        """Return the track ids, int64 (n,), of the n faces of a frame.

        Args:
            index: the frame's number, larger than that of the call before; frames may be left out.
            faces: what was found in it.

        Raises:
            DataError: the frames are out of order.
        """
        if index <= self._index:
            raise DataError(f"frame {index} cannot follow frame {self._index}: tracks go forward")
        self._index = index
        self._keep(index - self._seen <= self.max_gap + 1)
        boxes = faces.boxes.astype(float)
        known, found = assign(_closeness(self._expected(index), boxes))
        self._move(known, boxes[found], index)
        ids = np.full(len(boxes), -1, np.int64)
        ids[found] = self._ids[known]
        new = np.flatnonzero(ids < 0)
        ids[new] = self._begin(boxes[new], index)
        return ids

    def _keep(self, alive: np.ndarray) -> None:
        for name in ("_ids", "_boxes", "_velocity", "_sightings", "_seen"):
            setattr(self, name, getattr(self, name)[alive])

    def _expected(self, index: int) -> np.ndarray:
        return self._boxes + np.tile(self._velocity * (index - self._seen)[:, None], 2)

    def _move(self, known: np.ndarray, boxes: np.ndarray, index: int) -> None:
        step = (_centres(boxes) - _centres(self._boxes[known])) / (index - self._seen[known])[:, None]
        # at first the plain mean of all steps
        newest = np.maximum(STEADY, 1 / self._sightings[known])[:, None]
        self._velocity[known] += newest * (step - self._velocity[known])
        self._boxes[known] = boxes
        self._sightings[known] += 1
        self._seen[known] = index

    def _begin(self, boxes: np.ndarray, index: int) -> np.ndarray:
        n = len(boxes)
        ids = np.arange(self._next, self._next + n)
        self._next += n
        self._ids = np.concatenate([self._ids, ids])
        self._boxes = np.concatenate([self._boxes, boxes])
        self._velocity = np.concatenate([self._velocity, np.zeros((n, 2))])
        self._sightings = np.concatenate([self._sightings, np.ones(n, np.int64)])
        self._seen = np.concatenate([self._seen, np.full(n, index)])
        return ids


def _centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _closeness(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return how well boxes (k, 4) and (n, 4) fit, (k, n): distance IoU + STAYS, and 0 where they do not."""
    a, b = expected[:, None], found[None]
    both = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(-1)
    hull = (np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])) ** 2
    areas, others = ((box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b))
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2) ** 2
    fit = both / (areas + others - both) - apart.sum(-1) / hull.sum(-1)
    alike = np.maximum(areas, others) <= GROWTH**2 * np.minimum(areas, others)
    return np.where(alike & (fit > -REACH), fit + STAYS, 0)


def assign(gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (rows, columns) of a matrix (k, n) >= 0 with the largest sum, each used once, zeros never.

    The Hungarian method by shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987).
    """
    if len(gain) > gain.shape[1]:
        columns, rows = assign(gain.T)
        return rows, columns
    row_of = _cheapest(-gain)
    columns = np.flatnonzero(row_of >= 0)
    rows = row_of[columns]
    worth = gain[rows, columns] > 0
    return rows[worth], columns[worth]


def _cheapest(cost: np.ndarray) -> np.ndarray:
    """Return the row that each column of (k, n), k <= n, is given to, -1 for none, so that the sum is the least."""
    k, n = cost.shape
    of_row, of_column = np.zeros(k), np.zeros(n + 1)  # the prices; the last column is where a new row starts
    row_of = np.full(n + 1, -1)
    for row in range(k):
        row_of[n], column = row, n
        slack, before = np.full(n, np.inf), np.full(n, n)
        done = np.zeros(n + 1, bool)
        while row_of[column] >= 0:
            done[column] = True
            reduced = cost[row_of[column]] - of_row[row_of[column]] - of_column[:n]
            better = ~done[:n] & (reduced < slack)
            slack[better], before[better] = reduced[better], column
            nearest = int(np.where(done[:n], np.inf, slack).argmin())
            step = slack[nearest]
            of_row[row_of[done]] += step
            of_column[done] -= step
            slack[~done[:n]] -= step
            column = nearest
        while column != n:
            row_of[column] = row_of[before[column]]
            column = int(before[column])
    return row_of[:n]
