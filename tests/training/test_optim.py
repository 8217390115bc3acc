"""Optimisers, schedules and the moving average, against plain restatements."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from emozoo import registry
from emozoo.errors import RecipeError
from emozoo.model import EmotionModel
from emozoo.recipe import Optimizer, Schedule
from emozoo.training.optim import MovingAverage, learning_rate, make_optimizer


def rates(schedule: Schedule, epochs: int = 10, steps: int = 20) -> list[float]:
    return [learning_rate(schedule, step, steps, epochs) for step in range(epochs * steps)]


def test_cosine_falls_from_one_towards_its_final_share() -> None:
    curve = rates(Schedule(name="cosine", final=0.1))
    expected = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 200)) for step in range(200)]
    assert curve == pytest.approx(expected)


def test_a_cosine_may_have_a_period_of_its_own_and_is_left_before_its_end_or_stays_there() -> None:
    longer = rates(Schedule(name="cosine", period_epochs=20))
    assert longer == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 400)) for step in range(200)])
    shorter = rates(Schedule(name="cosine", final=0.1, period_epochs=5))
    assert shorter[:100] == pytest.approx(rates(Schedule(name="cosine", final=0.1), epochs=5))
    assert shorter[100:] == pytest.approx([0.1] * 100)


def test_warm_up_rises_linearly_and_meets_the_curve() -> None:
    curve = rates(Schedule(name="none", warmup_epochs=2))
    rises = [later - earlier for earlier, later in itertools.pairwise(curve[:40])]
    assert rises == pytest.approx([1 / 41] * 39)
    assert curve[0] > 0
    assert set(curve[40:]) == {1.0}


def test_a_warm_up_within_the_curve_multiplies_it_as_the_authors_of_ceflnet_have_it() -> None:
    config = Schedule(name="cosine", warmup_epochs=10, warmup_within=True, period_epochs=160)
    curve = rates(config, epochs=120, steps=1000)
    for epoch in (0, 5, 9, 20, 60, 119):
        theirs = min(1, (epoch + 1) / 10) * (1 + math.cos(math.pi * epoch / 160)) / 2  # one rate an epoch
        last = curve[1000 * epoch + 999 if epoch < 10 else 1000 * epoch]
        assert last == pytest.approx(theirs, abs=0.003)


def test_steps_multiply_by_gamma_from_the_start_epoch_on() -> None:
    curve = rates(Schedule(name="step", step_epochs=2, gamma=0.5, start_epoch=4))
    assert [curve[epoch * 20] for epoch in range(10)] == [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_biases_and_normalisation_are_not_decayed() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    decayed, kept = make_optimizer(Optimizer(name="sgd", lr=0.1, weight_decay=0.5), module).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 4)]
    assert [tuple(p.shape) for p in kept["params"]] == [(4,)] * 3
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)


def test_what_a_cost_learns_is_trained_and_not_decayed() -> None:
    cost = registry.build(
        "consistency", "prototype", {"learned": True}, ("happy", "sad"), ("valence", "arousal"), where=""
    )
    groups = make_optimizer(
        Optimizer(name="sgd", lr=0.1, weight_decay=0.5), nn.Linear(4, 4), [cost]
    ).param_groups
    [places] = cost.parameters()
    assert [group["weight_decay"] for group in groups if any(p is places for p in group["params"])] == [0.0]


@pytest.mark.parametrize(("given", "expected"), [({}, 0.9), ({"momentum": 0.0}, 0.0)])
def test_sgd_has_the_momentum_that_its_recipe_shows(given: dict, expected: float) -> None:
    config = Optimizer.model_validate({"name": "sgd", "lr": 0.1, **given})
    assert config.options == {"momentum": expected}
    assert make_optimizer(config, nn.Linear(2, 2)).defaults["momentum"] == expected


def test_an_unknown_optimiser_or_option_is_a_recipe_error() -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(
        RecipeError, match=r"train.optimizer: 'sdg' cannot be built.*Built in: sgd, adam, adamw"
    ):
        make_optimizer(Optimizer(name="sdg", lr=0.1), module)
    with pytest.raises(RecipeError, match="momentun"):
        make_optimizer(Optimizer.model_validate({"name": "sgd", "lr": 0.1, "momentun": 0.9}), module)


def test_the_moving_average_is_the_recursion_written_out(tiny_recipe) -> None:
    model = EmotionModel(tiny_recipe().model)
    average = MovingAverage(model, 0.9)
    name = "heads.emotion.layers.weight"
    name = next(
        key for key in model.state_dict() if key.startswith("heads.emotion") and key.endswith("weight")
    )
    expected = model.state_dict()[name].clone()
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model.backbone.bn1.num_batches_tracked += 1
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.state_dict()[name]
    torch.testing.assert_close(average.model.state_dict()[name], expected)
    assert int(average.model.backbone.bn1.num_batches_tracked) == 5
