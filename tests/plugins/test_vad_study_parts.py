"""What the study of VAD is made of: folds of the annotated images, priors, prototypes from data, separate networks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fer2013_samples import make_the_samples_whole, write, write_original
from small import tiny_config

from emozoo.contracts import Targets
from emozoo.errors import DataError, RecipeError
from emozoo.labels import FER2013_LABELS
from emozoo.model import EmotionModel
from emozoo.registry import build, resolve
from emozoo_consistency.prototype import PrototypeCost
from emozoo_datasets.fer2013 import Fer2013
from emozoo_heads.vad import VADHead

NAN = float("nan")


@pytest.fixture(autouse=True)
def _whole(monkeypatch: pytest.MonkeyPatch) -> None:
    make_the_samples_whole(monkeypatch)


def annotated(folder: Path) -> Path:
    """FER2013 of twelve images, six for training, of which rows 0 to 4 and one for testing have VAD."""
    write_original(folder / "fer2013.csv")
    rows = [[row, row % 3 - 1, 0, 2] for row in (0, 1, 2, 3, 4, 7)]
    write(folder / "vad.csv", ["row", "valence", "arousal", "dominance"], rows)
    return folder


def test_the_annotated_training_images_and_no_others_have_folds_of_nearly_one_size(tmp_path: Path) -> None:
    rows = Fer2013(annotated(tmp_path), vad="vad.csv", vad_folds=2).read()
    assert [fold is not None for fold in rows["fold"]] == [True] * 5 + [False] * 7
    assert sorted(Counter(fold for fold in rows["fold"] if fold).values()) == [2, 3]
    assert rows["fold"][:] == Fer2013(tmp_path, vad="vad.csv", vad_folds=2).read()["fold"][:]
    assert "fold" not in Fer2013(tmp_path, vad="vad.csv").read().column_names


def test_each_fold_of_the_real_annotations_has_its_share_of_every_category(real_data: Path) -> None:
    reader = Fer2013(real_data / "fer2013", vad="../fer2013-vad", vad_folds=5)
    rows = reader.read().remove_columns("image").to_pandas()
    known = rows[rows.fold.notna()]
    assert len(known) == 199
    assert set(known.split) == {"train"}
    assert not known.valence.isna().any()
    for _, group in known.groupby("label"):
        counts = group.fold.value_counts().reindex(range(1, 6), fill_value=0)
        assert counts.max() - counts.min() <= 1
    assert sorted(known.fold.value_counts()) == [39, 40, 40, 40, 40]


def test_more_folds_than_annotated_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="vad_folds = 6, but 5 training images have valence"):
        Fer2013(annotated(tmp_path), vad="vad.csv", vad_folds=6).read()
    with pytest.raises(ValueError, match="2 or more"):
        Fer2013(tmp_path, vad="vad.csv", vad_folds=1)


def test_training_images_without_vad_can_be_left_out(tmp_path: Path) -> None:
    rows = Fer2013(annotated(tmp_path), vad="vad.csv", vad_only=True).read()
    assert rows["split"][:] == ["train"] * 5 + ["public_test"] * 3 + ["private_test"] * 3


def some_targets() -> Targets:
    """Six samples of three categories; category 2 has no annotation, sample 2 a soft label."""
    label = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0.25, 0.75, 0], [0, 0, 1], [0, 1, 0], [NAN, NAN, NAN]])
    vad = torch.tensor([[0.5, 0, 0], [-0.1, 0.2, NAN], [1, 1, -1], [NAN] * 3, [NAN] * 3, [0.3, 0.3, 0.3]])
    return Targets(label, vad)


def plain_means(targets: Targets) -> np.ndarray:
    """The means of each category, by loops."""
    label, vad = targets.label.numpy(), targets.vad.numpy()
    means = np.full((label.shape[1], 3), np.nan)
    for category in range(label.shape[1]):
        for dimension in range(3):
            total = weight = 0.0
            for p, v in zip(label, vad, strict=True):
                if not np.isnan(p).any() and not np.isnan(v[dimension]):
                    total += p[category] * v[dimension]
                    weight += p[category]
            if weight:
                means[category, dimension] = total / weight
    return means


def test_category_means_are_those_of_the_annotated_samples_soft_labels_by_their_share() -> None:
    found = some_targets().category_means().numpy()
    np.testing.assert_allclose(found, plain_means(some_targets()), rtol=1e-6)
    assert np.isnan(found[2]).all()


def test_a_prior_draws_what_is_not_annotated_to_its_categorys_mean() -> None:
    targets = some_targets()
    head = VADHead(4, ["a", "b", "c"], bounded="none")
    output = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    plain = head.criterion(targets)(output, targets)
    loss = head.criterion(targets, prior=0.5)(output, targets)
    means, label, vad = plain_means(targets), targets.label.numpy(), targets.vad.numpy()
    squares = []
    for row, dimension in np.ndindex(6, 3):
        expected = sum(p * m for p, m in zip(label[row], means[:, dimension], strict=True) if p != 0)
        if np.isnan(vad[row, dimension]) and not np.isnan(expected):
            squares.append((float(output[row, dimension].detach()) - expected) ** 2)
    assert len(squares) == 4  # one value of sample 1, three of sample 4; category 2 has no mean
    assert float((loss - plain).detach()) == pytest.approx(0.5 * np.mean(squares), rel=1e-5)
    loss.backward()
    assert output.grad is not None
    assert bool(output.grad.isfinite().all())
    assert bool((output.grad[3] == 0).all())


def test_prototypes_from_the_annotations_are_the_category_means_and_may_then_be_learned() -> None:
    targets = some_targets()
    for learned in (False, True):
        cost = PrototypeCost(
            ["angry", "disgust", "fear"], ["dominance", "valence"], prototypes="annotated", learned=learned
        )
        logits, vad = torch.randn(5, 3), torch.randn(5, 2)
        assert bool((cost(logits, vad) == 0).all())
        cost.prepare(targets)
        means = plain_means(targets)[:, [2, 0]]
        np.testing.assert_allclose(cost.prototypes.detach().numpy()[:2], means[:2], rtol=1e-6)
        assert cost.known.tolist() == [1, 1, 0]
        assert len(list(cost.parameters())) == learned
    silent = Targets(targets.label, torch.full_like(targets.vad, NAN))
    with pytest.raises(RecipeError, match="no training sample has a category and dominance, valence"):
        cost.prepare(silent)


BACKBONE = {"name": "resnet18", "stem": "strided", "width": 8}


def separate_model() -> EmotionModel:
    torch.manual_seed(0)
    return EmotionModel(
        tiny_config(
            backbone={"name": "separate", "backbone": BACKBONE, "copies": 2},
            heads={
                "emotion": {"name": "classification", "part": [1, 2]},
                "vad": {"name": "vad", "bounded": "none", "part": [2, 2], "hidden": [5]},
            },
        )
    )


def test_separate_networks_share_no_weight() -> None:
    model = separate_model()
    first, second = model.backbone.copies
    model(torch.randn(2, 1, 44, 44)).heads["vad"].sum().backward()
    assert all(
        p.grad is None or not p.grad.any()
        for p in [*first.parameters(), *model.heads["emotion"].parameters()]
    )
    assert all(p.grad is not None for p in second.parameters())
    assert len(model.backbone.orthogonal_convs()) == 2 * len(first.orthogonal_convs())


def test_a_head_sees_its_own_part_of_the_features_alone() -> None:
    model = separate_model().eval()
    images = torch.randn(2, 1, 44, 44)
    heads = model(images).heads
    for name, copy in zip(("emotion", "vad"), model.backbone.copies, strict=True):
        head: Any = model.heads[name]
        torch.testing.assert_close(heads[name], head.layers(copy(images)))


def test_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(RecipeError, match="no part 3 of 2"):
        build("head", "vad", {"part": [3, 2]}, 8, FER2013_LABELS, where="model.heads.vad")


def test_what_is_copied_is_named_in_full_with_every_option() -> None:
    inner = {"name": "emozoo:resnet18", "stem": "strided", "width": 8, "strides": [1, 2, 2, 2]}
    assert separate_model().config.backbone.options == {"backbone": inner, "copies": 2}
    by_default = resolve("backbone", "separate", {}, "model.backbone").plain
    assert by_default["backbone"] == resolve("backbone", "resnet18", {}, "model.backbone").plain
    with pytest.raises(RecipeError, match=r"model\.backbone\.backbone: which backbone"):
        build("backbone", "separate", {"backbone": {"width": 8}}, 1, where="model.backbone")
