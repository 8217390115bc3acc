"""What does not survive inspection in Huo & Ge (2024), as claims that can be run again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from emozoo.contracts import Targets
from emozoo.errors import ContractError, EmozooWarning
from emozoo.evaluation.metrics import vad_measure
from emozoo.labels import DIMENSIONS, FER2013_LABELS
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe, load_recipe
from emozoo.registry import build
from emozoo.training.objective import Learner

LEGACY = Path(__file__).parents[2] / "docs" / "studies" / "vad" / "legacy.toml"


def fitted(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a linear layer says of (512,) targets that are linear in its input, once it was trained on them."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(512, 8, generator=generator)
    target = (inputs @ torch.linspace(-0.2, 0.2, 8)).clamp(-1, 1) + 0.1
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(12):
        order = torch.randperm(512, generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(16):
            optimizer.zero_grad()
            loss(layer(inputs[rows]), target[rows]).backward()
            optimizer.step()
    return layer(inputs).detach(), target[:, None]


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_squared_error_that_broadcasts_collapses_to_the_constant_and_one_that_does_not_learns() -> None:
    collapsed, target = fitted(F.mse_loss)  # (16, 1) and (16,): 256 differences, of everyone from everyone
    learned, _ = fitted(lambda output, target: F.mse_loss(output, target[:, None]))
    measured = {
        name: vad_measure(output.numpy(), target.numpy(), ["valence"])["metrics"]
        for name, output in (("collapsed", collapsed), ("learned", learned))
    }
    variance = float(target.var(correction=0))
    # In expectation 1 / 16 of the signal is left: the share that a sample has in the mean of its batch of 16.
    assert float(collapsed.std()) < 0.2 * float(target.std())
    assert measured["collapsed"]["ccc"]["value"] < 0.2
    assert measured["collapsed"]["mse"]["value"] > 0.8 * variance
    assert measured["learned"]["ccc"]["value"] > 0.99


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_the_broadcast_error_is_the_distance_from_the_batchs_mean_and_a_constant() -> None:
    output, target = torch.randn(16, 1), torch.randn(16)
    expected = (output - target.mean()).square().mean() + target.var(correction=0)
    torch.testing.assert_close(F.mse_loss(output, target), expected)


def test_emozoo_refuses_shapes_that_would_broadcast() -> None:
    head = build("head", "vad", {"dimensions": ["valence"]}, 4, ["a", "b"], where="model.heads.vad")
    targets = Targets(torch.eye(2)[torch.arange(16) % 2], torch.rand(16, 3))
    with pytest.raises(ContractError, match="they must be equal, and are never broadcast"):
        head.criterion(targets)(torch.zeros(16), targets)


def trained(recipe: Recipe) -> tuple[dict[str, torch.Tensor], float]:
    """Return a model's weights after three steps with a recipe's loss, and the last loss."""
    torch.manual_seed(0)
    images, label = torch.randn(14, 1, 20, 20), torch.eye(7)[torch.arange(14) % 7]
    targets = Targets(label, torch.rand(14, 3) * 2 - 1)
    learner = Learner(EmotionModel(recipe.model), recipe.train, targets)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05, momentum=0.9)
    loss = torch.zeros(())
    for step in range(3):
        torch.manual_seed(step)  # of dropout
        optimizer.zero_grad()
        loss, _ = learner(images, targets)
        loss.backward()
        optimizer.step()
    return learner.model.state_dict(), float(loss.detach())


def test_the_printed_cost_changes_no_weight_and_its_relaxation_does(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    none, loss = trained(tiny_recipe())
    printed = "train.consistency=[{name='step', table='released', zero_band=0.0, weight=100.0}]"
    with pytest.warns(EmozooWarning, match="trains nothing"):
        step, with_cost = trained(tiny_recipe(printed))
    hinge, _ = trained(tiny_recipe("train.consistency=[{name='expected-hinge', weight=1.0}]"))
    assert all(torch.equal(none[name], step[name]) for name in none)
    assert not all(torch.equal(none[name], hinge[name]) for name in none)
    assert with_cost > loss + 1  # it is in the loss that is logged, and in that alone


def test_with_the_papers_rule_a_neutral_face_is_inconsistent_whatever_is_predicted() -> None:
    labels = ["happy", "neutral"]
    printed = build("consistency", "step", {"zero_band": 0.0}, labels, ["valence"], where="here")
    banded = build("consistency", "step", {}, labels, ["valence"], where="here")
    neutral = torch.tensor([[-5.0, 5.0]]).expand(100, 2)
    values = torch.rand(100, 1, generator=torch.Generator().manual_seed(0)) * 0.4 - 0.2
    assert bool((printed(neutral, values) == 1).all())
    assert bool((banded(neutral, values) == 0).all())


def test_the_published_average_loss_is_the_squared_error_over_about_the_batch_size() -> None:
    errors = torch.rand(31)
    batches = [batch.mean() for batch in errors.split(16)]
    published = sum(batches) / 31
    assert float(published) == pytest.approx(float(errors.mean()) * 2 / 31, rel=0.05)


def test_the_legacy_recipe_is_the_papers_four_networks() -> None:
    recipe = load_recipe(LEGACY)
    model = EmotionModel(recipe.model)
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == 44_680_458 - 4_608  # theirs see grey three times


def test_the_legacy_recipe_trains_on_the_squared_error_of_the_published_scale() -> None:
    recipe = load_recipe(LEGACY)
    published = 4 * torch.rand(16, 3) - 2
    targets = Targets(torch.full((16, 7), torch.nan), published / 2)
    for name, values in zip(DIMENSIONS, published.T, strict=True):
        table = {"dimensions": [name], "bounded": "none"}
        head = build("head", "vad", table, 8, FER2013_LABELS, where=f"model.heads.{name}")
        output = torch.randn(16, 1)
        weight = recipe.train.losses[name].weight
        loss = weight * head.criterion(targets)(output, targets)
        assert float(loss) == pytest.approx(float(F.mse_loss(2 * output[:, 0], values)), rel=1e-5)
