"""What every consistency cost promises of its gradient, its inputs, and the table it is built from."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files

import pytest
import torch

from emozoo import registry
from emozoo.errors import ContractError, RecipeError
from emozoo.labels import DIMENSIONS, FER2013_LABELS

RELAXED = ["expected-hinge", "expected-cost", "straight-through", "graded", "prototype"]
ALL = ["step", *RELAXED]
HAPPY, SAD = FER2013_LABELS.index("happy"), FER2013_LABELS.index("sad")


def certain(*classes):
    """Logits that leave no doubt about the class."""
    return torch.nn.functional.one_hot(torch.tensor(classes), 7).float() * 100


def some_samples(n=40, dtype=torch.float32):
    torch.manual_seed(7)
    return 3 * torch.randn(n, 7, dtype=dtype), torch.rand(n, 3, dtype=dtype) * 2 - 1


def build(name, labels=FER2013_LABELS, dimensions=DIMENSIONS, **options):
    return registry.build("consistency", name, options, labels, dimensions, where="train.consistency.0")


# Gradients


def test_the_printed_cost_carries_no_gradient_and_says_so():
    logits, vad = (x.requires_grad_() for x in some_samples())
    cost = build("step")
    assert cost.differentiable is False
    assert cost(logits, vad).requires_grad is False


@pytest.mark.parametrize("name", RELAXED)
def test_the_relaxations_train_both_the_classes_and_the_values(name):
    logits, vad = (x.requires_grad_() for x in some_samples())
    cost = build(name)
    assert cost.differentiable is True
    by_logits, by_vad = torch.autograd.grad(cost(logits, vad).sum(), (logits, vad))
    assert by_logits.abs().sum() > 0.1
    assert (by_vad.abs().sum(0) > 0.1).all()


@pytest.mark.parametrize("name", ["expected-hinge", "expected-cost", "graded", "prototype"])
def test_gradients_are_those_of_finite_differences(name):
    logits, vad = (x.requires_grad_() for x in some_samples(5, torch.float64))
    assert torch.autograd.gradcheck(build(name), (logits, vad))


@pytest.mark.parametrize("name", RELAXED)
def test_descent_on_a_relaxation_makes_happy_faces_pleasant(name):
    logits = certain(HAPPY)
    vad = torch.full((1, 1), -0.5, requires_grad=True)
    optimizer = torch.optim.SGD([vad], lr=0.1)
    cost = build(name, dimensions=["valence"])
    for _ in range(200):
        optimizer.zero_grad()
        cost(logits, vad).sum().backward()
        optimizer.step()
    assert vad.item() > 0.2


# Inputs


@pytest.mark.parametrize("name", ALL)
def test_costs_are_never_negative_and_nan_stays_nan_in_its_own_sample(name):
    logits, vad = some_samples(300)
    cost = build(name)
    assert (cost(logits, vad) >= 0).all()
    logits[0, 3] = float("nan")
    vad[1, 1] = float("nan")
    assert cost(logits, vad).isnan().tolist() == [True, True] + [False] * 298


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("logits", "vad"), [((4, 6), (4, 3)), ((4, 7), (4, 1)), ((4, 7), (4,)), ((1, 7), (4, 3))]
)
def test_shapes_that_would_broadcast_are_refused(name, logits, vad):
    message = r"7 labels and 3 dimension\(s\) needs logits \(B, 7\) and values \(B, 3\); it was given"
    with pytest.raises(ContractError, match=message):
        build(name)(torch.zeros(logits), torch.zeros(vad))


@pytest.mark.parametrize("name", ALL)
def test_half_precision_inputs_cost_what_they_cost_in_single_precision(name):
    logits, vad = (x.bfloat16() for x in some_samples())
    cost = build(name)
    expected = cost(logits.float(), vad.float())
    assert torch.equal(cost(logits, vad), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cost(logits, vad), expected)


@pytest.mark.parametrize("name", ALL)
def test_no_cost_is_part_of_what_a_model_saves_unless_it_learns(name):
    assert list(build(name).state_dict()) == []
    assert list(build("prototype", learned=True).state_dict()) == ["prototypes"]


# Labels and tables


@pytest.mark.parametrize("name", ALL)
def test_labels_in_another_order_and_spelling_cost_the_same(name):
    order = [6, 3, 0, 5, 1, 4, 2]
    spelling = ["Neutral", "happiness", "Anger", "surprised", "disgusted", "Sadness", "fearful"]
    logits, vad = some_samples()
    shuffled = build(name, labels=spelling)(logits[:, order], vad)
    torch.testing.assert_close(shuffled, build(name)(logits, vad), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_a_label_without_a_rule_costs_nothing(name):
    labels = [*FER2013_LABELS, "contempt"]
    logits, vad = some_samples()
    certain_of_it = torch.cat([torch.zeros(40, 7), torch.full((40, 1), 200.0)], 1)
    impossible = torch.cat([logits, torch.full((40, 1), -200.0)], 1)
    cost = build(name, labels=labels)
    assert cost(certain_of_it, vad).abs().max() == 0
    torch.testing.assert_close(cost(impossible, vad), build(name)(logits, vad), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_fewer_labels_and_fewer_dimensions_keep_their_own_rules(name):
    logits = torch.tensor([[100.0, 0.0], [0.0, 100.0]])
    value = torch.tensor([[-0.3, 0.7], [0.2, -0.6]])  # dominance, valence
    cost = build(name, labels=["sad", "happy"], dimensions=["dominance", "valence"])
    one = build(name, dimensions=["valence"])(certain(SAD, HAPPY), value[:, 1:])
    other = build(name, dimensions=["dominance"])(certain(SAD, HAPPY), value[:, :1])
    torch.testing.assert_close(cost(logits, value), one + other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("table", ["equations", "table1", "released", "graded"])
def test_shipped_tables_have_three_costs_for_all_categories_and_dimensions(table):
    path = files("emozoo_consistency") / "data" / "tables" / f"{table}.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    assert list(content) == list(FER2013_LABELS)
    assert all(list(rows) == list(DIMENSIONS) for rows in content.values())
    build("step", table=table)


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_table_of_ones_own_comes_from_a_file_or_from_the_recipe(tmp_path, suffix):
    table = {"happiness": {"valence": [0, 0.5, 1]}}
    path = tmp_path / f"mine.{suffix}"
    text = json.dumps(table) if suffix == "json" else "[happiness]\nvalence = [0, 0.5, 1]\n"
    path.write_text(text, encoding="utf-8")
    value = torch.tensor([[0.5, 0.9, 0.9], [0.0, 0.9, 0.9], [-0.5, 0.9, 0.9]])
    for source in (str(path), table):
        cost = build("step", table=source)
        assert cost(certain(HAPPY, HAPPY, HAPPY), value).tolist() == [0, 0.5, 1]
        assert cost(certain(SAD, SAD, SAD), value).tolist() == [0, 0, 0]


def test_prototypes_of_ones_own_come_from_a_file_or_from_the_recipe(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"happy": {"valence": 1.0, "arousal": 0.0}}), encoding="utf-8")
    for source in (str(path), {"happy": {"valence": 1.0, "arousal": 0.0}}):
        cost = build("prototype", dimensions=["valence", "arousal"], prototypes=source)
        assert cost(certain(HAPPY), torch.tensor([[0.5, 0.5]])).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("equation", r"no 'equation' among .*: equations, graded, .* mean 'equations'\? .*path"),
        ("nowhere/mine.toml", r"nowhere/mine\.toml cannot be read: No such file"),
        ({"happy": {"valence": [0, 1]}}, r"happy\.valence\.2: Field required"),
        ({"happy": {"valence": [0, 1, 2]}}, r"happy\.valence\.2: .*less than or equal to 1 \(given: 2\)"),
        ({"happy": {"valence": [0, -0.1, 1]}}, r"happy\.valence\.1: .*greater than or equal to 0"),
        ({"happy": {"valence": [0, float("nan"), 1]}}, r"happy\.valence\.1: .*\(given: nan\)"),
        ({"happy": {"valence": [0, "1", 1]}}, r"happy\.valence\.1: .*valid number \(given: '1'\)"),
        ({"happy": [0, 1, 1]}, r"happy: .*valid dictionary"),
        ({"hapy": {"valence": [0, 1, 1]}}, r"hapy: no such category\. Did you mean 'happy'\? Known: angry"),
        ({"happy": {"valance": [0, 1, 1]}}, r"happy\.valance: no such dimension\. Did you mean 'valence'\?"),
        (
            {"joy": {"valence": [0, 1, 1]}, "happy": {"valence": [0, 1, 1]}},
            r"happy: happy is there twice; keep one",
        ),
        (
            {"contempt": {"valence": [1, 1, 0]}},
            r"says nothing of .* of the labels angry, .*it has contempt\. Give",
        ),
        ({}, r"it has no category"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_place_and_the_reason(table, message):
    with pytest.raises(RecipeError, match=message):
        build("step", table=table)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.toml", "[happy\n", r"t\.toml is not valid TOML"),
        ("t.json", "{", r"t\.json is not valid JSON"),
        ("t.json", "[1]", r"t\.json is not a table of tables:\n  table: .*valid dictionary"),
        (
            "t.toml",
            "[happy]\nvalence = [0, 1, 7]\n",
            r"t\.toml is not a table of tables:\n  happy\.valence\.2",
        ),
        ("t.toml", "[happy]\ndominanz = [0, 1, 1]\n", r"t\.toml:\n  happy\.dominanz: no such dimension"),
    ],
)
def test_a_broken_table_file_is_refused_by_its_name(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        build("expected-cost", table=str(tmp_path / name))


@pytest.mark.parametrize(
    ("prototypes", "message"),
    [
        ({"happy": {"valence": 1.0}}, r"happy has no arousal and no dominance; add it"),
        ({"happy": {"valence": 1.2}}, r"happy\.valence: .*less than or equal to 1"),
        ("pads", r"no 'pads' among the shipped prototypes: pad\. Did you mean 'pad'\?"),
    ],
)
def test_prototypes_that_are_none_are_refused(prototypes, message):
    with pytest.raises(RecipeError, match=message):
        build("prototype", prototypes=prototypes)


def test_a_model_of_other_labels_is_told_that_the_table_says_nothing_of_them():
    message = r"equations says nothing of valence of the labels cat, dog; it has angry"
    with pytest.raises(RecipeError, match=message):
        build("step", labels=["cat", "dog"], dimensions=["valence"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("step", {"zero_band": -0.1}, r"train\.consistency\.0\.zero_band: .*greater than or equal to 0"),
        ("step", {"zeroband": 0.1}, r"zeroband: unknown key\. Did you mean 'zero_band'\?"),
        ("expected-cost", {"temperature": 0}, r"temperature: .*greater than 0"),
        ("prototype", {"distance": "euclid"}, r"distance: .*Did you mean 'euclidean'\?"),
    ],
)
def test_a_wrong_option_is_named(name, options, message):
    with pytest.raises(RecipeError, match=message):
        build(name, **options)
