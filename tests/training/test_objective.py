"""The loss of a recipe is the sum of its parts, and only of what is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from emozoo.contracts import Targets
from emozoo.errors import ContractError, EmozooWarning, RecipeError, TrainingError
from emozoo.model import EmotionModel
from emozoo.training.objective import Learner


def make(tiny_recipe, *overrides: str) -> tuple[Learner, torch.Tensor, Targets]:
    recipe = tiny_recipe("model.heads.emotion.dropout=0", *overrides)
    torch.manual_seed(0)
    label = F.one_hot(torch.tensor([0, 3, 4, 6, 3, 1]), 7).float()
    vad = torch.rand(6, 3) * 2 - 1
    targets = Targets(label, vad)
    return Learner(EmotionModel(recipe.model), recipe.train, targets), torch.randn(6, 1, 20, 20), targets


def test_the_total_is_the_weighted_sum_of_the_parts(tiny_recipe) -> None:
    learner, images, targets = make(
        tiny_recipe, "train.losses.emotion.weight=0.5", "train.losses.vad.weight=3", "train.orthogonal=0.1",
        "train.consistency=[{name='expected-hinge', weight=0.25}, {name='prototype', weight=2.0}]",
    )  # fmt: skip
    learner.eval()
    total, parts = learner(images, targets)
    outputs = learner.model(images).heads
    assert float(parts["emotion"]) == pytest.approx(
        float(F.cross_entropy(outputs["emotion"], targets.label).detach())
    )
    assert float(parts["vad"]) == pytest.approx(float(F.mse_loss(outputs["vad"], targets.vad)), rel=1e-5)
    weights = {"emotion": 0.5, "vad": 3, "expected-hinge": 0.25, "prototype": 2.0, "orthogonal": 0.1}
    assert parts.keys() == weights.keys()
    assert float(total) == pytest.approx(sum(weight * float(parts[name]) for name, weight in weights.items()))


def test_a_head_may_be_called_as_a_cost_is_and_both_are_recorded(tiny_recipe) -> None:
    heads = "model.heads={orthogonal={name='classification'}, prototype={name='vad'}}"
    learner, images, targets = make(
        tiny_recipe, heads, "train.orthogonal=0.1", "train.consistency=[{name='prototype', weight=2.0}]"
    )
    total, parts = learner.eval()(images, targets)
    weights = {"orthogonal": 1.0, "prototype": 1.0, "prototype.0": 2.0, "orthogonal.convolutions": 0.1}
    assert parts.keys() == weights.keys()
    assert float(total) == pytest.approx(sum(weight * float(parts[name]) for name, weight in weights.items()))


def test_what_is_missing_is_neither_trained_on_nor_counted(tiny_recipe) -> None:
    learner, images, targets = make(tiny_recipe)
    learner.eval()
    label, vad = targets.label.clone(), targets.vad.clone()
    label[2:], vad[:3], vad[:, 1] = float("nan"), float("nan"), float("nan")
    _, parts = learner(images, Targets(label, vad))
    outputs = learner.model(images).heads
    kept = F.cross_entropy(outputs["emotion"][:2], label[:2])
    assert float(parts["emotion"]) == pytest.approx(float(kept))
    squares = (outputs["vad"][3:][:, [0, 2]] - vad[3:][:, [0, 2]]).square().mean()
    assert float(parts["vad"]) == pytest.approx(float(squares), rel=1e-5)


def test_a_batch_with_no_targets_at_all_has_loss_zero_and_zero_gradients(tiny_recipe) -> None:
    learner, images, targets = make(tiny_recipe)
    nothing = Targets(
        torch.full_like(targets.label, float("nan")), torch.full_like(targets.vad, float("nan"))
    )
    total, _ = learner(images, nothing)
    total.backward()
    assert float(total) == 0
    assert all(p.grad is None or float(p.grad.abs().max()) == 0 for p in learner.parameters())


def test_the_record_of_a_head_without_targets_in_a_batch_is_nothing_and_not_zero(tiny_recipe) -> None:
    learner, images, targets = make(tiny_recipe)
    nothing = Targets(targets.label, torch.full_like(targets.vad, float("nan")))
    total, parts = learner(images, nothing)
    assert parts["vad"].isnan()
    assert float(total) == float(parts["emotion"]), "nothing is added to the loss"
    _, parts = learner(images, Targets(nothing.label, nothing.vad, targets))
    assert float(parts["vad"]) == 0, (
        "another part of the batch has some, and its loss is a mean over all parts"
    )


def test_every_consistency_cost_that_claims_a_gradient_moves_both_heads(tiny_recipe) -> None:
    for name in ("expected-hinge", "expected-cost", "straight-through", "prototype", "graded"):
        learner, images, targets = make(
            tiny_recipe, "train.losses.emotion.weight=0", "train.losses.vad.weight=0",
            f"train.consistency=[{{name='{name}', weight=1.0}}]",
        )  # fmt: skip
        total, _ = learner(images, targets)
        total.backward()
        for head in ("emotion", "vad"):
            grads = [
                float(p.grad.abs().sum())
                for p in learner.model.heads[head].parameters()
                if p.grad is not None
            ]
            assert sum(grads) > 0, f"{name} leaves {head} alone"


def test_the_printed_cost_moves_nothing_and_says_so(tiny_recipe) -> None:
    with pytest.warns(EmozooWarning, match="carries no gradient: it is logged, but trains nothing"):
        learner, images, targets = make(
            tiny_recipe, "train.losses.emotion.weight=0", "train.losses.vad.weight=0",
            "train.consistency=[{name='step', weight=1.0}]",
        )  # fmt: skip
    total, parts = learner(images, targets)
    total.backward()
    assert float(parts["step"]) > 0
    assert all(p.grad is None or float(p.grad.abs().max()) == 0 for p in learner.parameters())


def test_a_learned_prototype_is_trained_but_is_no_part_of_the_model(tiny_recipe) -> None:
    learner, _, _ = make(tiny_recipe, "train.consistency=[{name='prototype', learned=true}]")
    assert len(list(learner.parameters())) == len(list(learner.model.parameters())) + 1


def test_a_cost_needs_one_head_of_each_kind(tiny_recipe) -> None:
    with pytest.raises(RecipeError, match=r"train.consistency.0: the model has 2 classification heads"):
        make(tiny_recipe, "model.heads.second.name=classification", "train.consistency=[{name='prototype'}]")
    learner, _, _ = make(
        tiny_recipe, "model.heads.second.name=classification",
        "train.consistency=[{name='prototype', classification='second'}]",
    )  # fmt: skip
    assert learner.terms[0][1] == "second"
    with pytest.raises(RecipeError, match=r"train.consistency.0.vad: head 'emotion' is no vad head"):
        make(tiny_recipe, "train.consistency=[{name='prototype', vad='emotion'}]")


def test_a_loss_option_that_does_not_exist_is_named_with_its_path(tiny_recipe) -> None:
    with pytest.raises(RecipeError, match=r"train.losses.emotion.label_smothing: unknown key. Did you mean"):
        make(tiny_recipe, "train.losses.emotion.label_smothing=0.1")


def test_a_backbone_without_declared_convolutions_cannot_be_regularised(tiny_recipe) -> None:
    with pytest.raises(TrainingError, match=r"train.orthogonal"):
        make(tiny_recipe, "model.backbone={name='timm/test_resnet'}", "train.orthogonal=0.5")


def test_a_head_without_a_criterion_is_not_trained(tiny_recipe, monkeypatch) -> None:
    monkeypatch.delattr(type(EmotionModel(tiny_recipe().model).heads["vad"]), "criterion")
    with pytest.raises(ContractError, match=r"head 'vad' \(emozoo_heads.* has no method criterion"):
        make(tiny_recipe)


def test_a_loss_that_is_not_a_scalar_is_refused(tiny_recipe) -> None:
    learner, images, targets = make(tiny_recipe)
    learner.criteria["vad"] = lambda output, targets: (output - targets.vad).square()
    with pytest.raises(ContractError, match=r"the loss of head 'vad' has shape \(6, 3\); a loss is a scalar"):
        learner(images, targets)


def test_half_precision_outputs_reach_the_losses_in_single_precision(tiny_recipe) -> None:
    learner, images, targets = make(tiny_recipe, "train.consistency=[{name='expected-cost'}]")
    seen: list[torch.dtype] = []
    learner.criteria["vad"] = lambda output, targets: (seen.append(output.dtype), output.sum())[1]
    with torch.autocast("cpu", torch.bfloat16):
        learner(images, targets)
    assert seen == [torch.float32]


def test_a_head_of_one_dimension_has_no_loss_on_record_where_only_others_are_known(tiny_recipe) -> None:
    one = "{{name='vad', dimensions=['{0}']}}"
    heads = f"model.heads={{valence={one.format('valence')}, dominance={one.format('dominance')}}}"
    recipe = tiny_recipe(heads)
    targets = Targets(torch.zeros(6, 7), torch.rand(6, 3))
    learner = Learner(EmotionModel(recipe.model), recipe.train, targets)
    part = Targets(targets.label, targets.vad.index_fill(1, torch.tensor([1, 2]), torch.nan))
    _, parts = learner(torch.randn(6, 1, 20, 20), part)
    assert parts["valence"] > 0
    assert parts["dominance"].isnan()
