"""Consistency costs against plain restatements of Huo & Ge 2024, sample by sample."""

from __future__ import annotations

import csv
import math
import random
import tomllib
from importlib.resources import files
from itertools import product

import pytest
import torch

from emozoo import registry
from emozoo.errors import RecipeError
from emozoo.labels import DIMENSIONS, FER2013_LABELS
from emozoo_consistency.prototype import PrototypeCost
from emozoo_consistency.rules import ExpectedCost, ExpectedHinge, GradedCost, StepCost, StraightThrough

ANGRY, DISGUST, FEAR, HAPPY, SAD, SURPRISE, NEUTRAL = range(7)


# What the paper and its code say, written down by hand


def equation_5(c, v):
    if c == 6 and v != 0:
        return 1
    if c == 3 and v <= 0:
        return 1
    if c in (0, 1, 2, 4) and v >= 0:
        return 1
    return 0


def equation_9(c, a):
    if c == 6 and a != 0:
        return 1
    if c == 4 and a > 0:
        return 1
    if c in (0, 1, 3, 5) and a <= 0:
        return 1
    return 0


def equation_13(c, d):
    if c == 6 and d != 0:
        return 1
    if c == 4 and d > 0:
        return 1
    if c in (0, 1, 3) and d <= 0:
        return 1
    return 0


def equations(c, v, a, d):
    return [equation_5(c, v), equation_9(c, a), equation_13(c, d)]


def table1(c, *values):
    wanted = {
        HAPPY: (">0", ">0", ">0"),
        DISGUST: ("<0", ">0", ">0"),
        ANGRY: ("<0", ">0", ">0 or <0"),
        FEAR: ("<0", "<0", "<0"),
        SAD: ("<0", "<0", ">0 or <0"),
        SURPRISE: (">0 or <0", ">0", "<0"),
        NEUTRAL: ("=0", "=0", "=0"),
    }[c]
    agrees = {
        "<0": lambda x: x < 0,
        ">0": lambda x: x > 0,
        "=0": lambda x: x == 0,
        ">0 or <0": lambda x: True,
    }
    return [0 if agrees[sign](value) else 1 for sign, value in zip(wanted, values, strict=True)]


def released(c, *values):
    printed = {
        ANGRY: "110 001 000",
        DISGUST: "110 001 011",
        FEAR: "110 000 110",
        HAPPY: "011 011 001",
        SAD: "110 110 110",
        SURPRISE: "000 011 110",
        NEUTRAL: "101 101 000",
    }[c].split()
    column = [0 if value > 0 else 1 if value == 0 else 2 for value in values]
    return [int(triple[state]) for triple, state in zip(printed, column, strict=True)]


RULES = {"equations": equations, "table1": table1, "released": released}


# Helpers


def certain(*classes):
    """Logits that leave no doubt about the class."""
    return torch.nn.functional.one_hot(torch.tensor(classes), 7).float() * 100


def some_samples(n=40, dtype=torch.float32):
    torch.manual_seed(7)
    return 3 * torch.randn(n, 7, dtype=dtype), torch.rand(n, 3, dtype=dtype) * 2 - 1


def softmax(logits):
    powers = [math.exp(x - max(logits)) for x in logits]
    return [power / sum(powers) for power in powers]


def shipped(folder, name):
    path = files("emozoo_consistency") / "data" / folder / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def row(table, label, dimension):
    return shipped("tables", table)[FER2013_LABELS[label]][dimension]


def build(name, labels=FER2013_LABELS, dimensions=DIMENSIONS, **options):
    return registry.build("consistency", name, options, labels, dimensions, where="train.consistency.0")


def expected_over_classes(logits, vad, cost_of):
    """sum_c p_c sum_d cost_of(c, d, v), one sample after the other."""
    return [
        sum(
            p * cost_of(c, d, value)
            for c, p in enumerate(softmax(sample))
            for d, value in zip(DIMENSIONS, values, strict=True)
        )
        for sample, values in zip(logits.tolist(), vad.tolist(), strict=True)
    ]


# The printed cost


@pytest.mark.parametrize("table", RULES)
def test_every_class_at_every_combination_of_signs_costs_what_the_source_says(table):
    cases = list(product(range(7), *[(-0.7, 0.0, 0.4)] * 3))
    step = StepCost(FER2013_LABELS, DIMENSIONS, table=table, zero_band=0)
    vad = torch.tensor([values for _, *values in cases])
    expected = [RULES[table](*case) for case in cases]
    assert step.per_dimension(certain(*[c for c, *_ in cases]), vad).tolist() == expected
    assert step(certain(*[c for c, *_ in cases]), vad).tolist() == [sum(costs) for costs in expected]


def test_without_a_zero_band_every_real_value_makes_a_neutral_face_inconsistent():
    value = torch.tensor([[1e-6, -1e-6, 1e-6]])
    assert StepCost(FER2013_LABELS, DIMENSIONS, zero_band=0)(certain(NEUTRAL), value).item() == 3
    assert StepCost(FER2013_LABELS, DIMENSIONS)(certain(NEUTRAL), value).item() == 0


def test_the_zero_band_decides_what_counts_as_zero_and_includes_its_edge():
    step = StepCost(FER2013_LABELS, ["valence"], zero_band=0.25)
    value = torch.tensor([[0.25], [0.2500001], [-0.25], [-0.2500001]])
    assert step(certain(*[NEUTRAL] * 4), value).tolist() == [0, 1, 0, 1]
    assert step(certain(*[HAPPY] * 4), value).tolist() == [1, 0, 1, 1]


def test_the_printed_cost_reads_the_most_likely_class_only():
    logits, vad = some_samples()
    step = StepCost(FER2013_LABELS, DIMENSIONS, table="released", zero_band=0)
    expected = [
        sum(released(max(range(7), key=sample.__getitem__), *values))
        for sample, values in zip(logits.tolist(), vad.tolist(), strict=True)
    ]
    assert step(logits, vad).tolist() == expected


@pytest.mark.parametrize(
    ("table", "wrong", "any_wrong"),
    [("equations", (6, 19, 22), 31), ("table1", (6, 38, 26), 57), ("released", (6, 20, 19), 38)],
)
def test_people_themselves_break_the_rules_in_the_annotated_training_images(
    real_data, table, wrong, any_wrong
):
    with (real_data / "fer2013-vad" / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [int(row["label"]) for row in rows]
    levels = [[int(row[dimension]) for dimension in DIMENSIONS] for row in rows]
    costs = StepCost(FER2013_LABELS, DIMENSIONS, table=table).per_dimension(
        certain(*labels), torch.tensor(levels) / 2
    )
    restated = [RULES[table](label, *level) for label, level in zip(labels, levels, strict=True)]
    assert costs.tolist() == restated
    assert len(rows) == 199
    assert tuple(sum(column) for column in zip(*restated, strict=True)) == wrong
    assert sum(any(costs) for costs in restated) == any_wrong


# The relaxations


def plain_hinge(costs, v, band, margin):
    """The distance of v from the values that a row of 0 and 1 allows."""
    above, zero, below = (cost == 0 for cost in costs)
    if (above, zero, below) == (True, False, False):
        return max(margin - v, 0)
    if (above, zero, below) == (False, False, True):
        return max(margin + v, 0)
    if (above, zero, below) == (False, True, False):
        return max(abs(v) - band, 0)
    if (above, zero, below) == (True, True, False):
        return max(-band - v, 0)
    if (above, zero, below) == (False, True, True):
        return max(v - band, 0)
    assert (above, zero, below) == (True, True, True)
    return 0


@pytest.mark.parametrize("table", RULES)
@pytest.mark.parametrize(("band", "margin"), [(0.25, 0.25), (0.1, 0.5), (0.0, 0.0)])
def test_the_hinge_is_the_expected_distance_from_what_the_rules_allow(table, band, margin):
    logits, vad = some_samples()
    cost = ExpectedHinge(FER2013_LABELS, DIMENSIONS, table=table, zero_band=band, margin=margin)
    expected = expected_over_classes(
        logits, vad, lambda c, d, v: plain_hinge(row(table, c, d), v, band, margin)
    )
    assert cost(logits, vad).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("table", RULES)
def test_with_margin_and_band_alike_the_hinge_is_0_exactly_where_the_printed_cost_is(table):
    random.seed(1)
    classes = [random.randrange(7) for _ in range(500)]
    vad = torch.rand(500, 3) * 2 - 1
    hinge = ExpectedHinge(FER2013_LABELS, DIMENSIONS, table=table)
    step = StepCost(FER2013_LABELS, DIMENSIONS, table=table)
    logits = certain(*classes)
    assert torch.equal(hinge.per_dimension(logits, vad) > 1e-12, step.per_dimension(logits, vad) > 0)


def test_the_hinge_of_a_graded_row_is_as_steep_as_its_wrong_side_is_dear():
    table = {"happy": {"valence": [0.1, 0.3, 0.6]}}
    hinge = ExpectedHinge(["happy"], ["valence"], table=table, margin=0.25)
    assert hinge(torch.zeros(1, 1), torch.tensor([[-0.75]])).item() == pytest.approx(0.5 * 1.0)


def test_a_rule_that_forbids_zero_alone_has_no_hinge():
    table = {"surprise": {"valence": [0, 1, 0]}}
    with pytest.raises(RecipeError, match=r"surprise\.valence: .*forbid = 0 alone.*use 'expected-cost'"):
        build("expected-hinge", table=table)
    assert build("step", table=table)(certain(SURPRISE), torch.zeros(1, 3)).item() == 1


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("table", RULES)
def test_without_a_band_the_expected_cost_is_the_formula_with_two_sigmoids(table):
    logits, vad = some_samples()
    cost = ExpectedCost(FER2013_LABELS, DIMENSIONS, table=table, zero_band=0, temperature=0.3)

    def two_sigmoids(c, d, v):
        above, _, below = row(table, c, d)
        return above * sigmoid(v / 0.3) + below * sigmoid(-v / 0.3)

    assert cost(logits, vad).tolist() == pytest.approx(
        expected_over_classes(logits, vad, two_sigmoids), abs=1e-6
    )


def test_with_a_band_the_expected_cost_gives_zero_the_probability_between_the_sigmoids():
    logits, vad = some_samples()

    def three_states(c, d, v):
        above, zero, below = row("released", c, d)
        over, under = sigmoid((v - 0.2) / 0.1), sigmoid((-v - 0.2) / 0.1)
        return above * over + zero * (1 - over - under) + below * under

    cost = ExpectedCost(FER2013_LABELS, DIMENSIONS, table="released", zero_band=0.2, temperature=0.1)
    assert cost(logits, vad).tolist() == pytest.approx(
        expected_over_classes(logits, vad, three_states), abs=1e-6
    )


@pytest.mark.parametrize("table", RULES)
def test_a_cold_expected_cost_of_a_certain_class_is_the_printed_cost(table):
    _, vad = some_samples(70)
    logits = certain(*[c for c in range(7) for _ in range(10)])
    cold = ExpectedCost(FER2013_LABELS, DIMENSIONS, table=table, temperature=1e-5)
    step = StepCost(FER2013_LABELS, DIMENSIONS, table=table)
    torch.testing.assert_close(cold(logits, vad), step(logits, vad), atol=1e-6, rtol=0)


def test_a_zero_rule_trains_the_value_only_where_there_is_a_band():
    for band, trains in ((0.0, False), (0.25, True)):
        vad = torch.tensor([[0.6]], dtype=torch.float64, requires_grad=True)
        ExpectedCost(FER2013_LABELS, ["valence"], zero_band=band)(certain(NEUTRAL), vad).sum().backward()
        assert (vad.grad.abs().item() > 0.1) is trains


def test_the_graded_cost_runs_through_the_table_entries_at_1_0_and_minus_1():
    logits, vad = some_samples()

    def interpolated(c, d, v):
        high, middle, low = row("graded", c, d)
        return middle + v * (high - middle) if v > 0 else middle - v * (low - middle)

    cost = GradedCost(FER2013_LABELS, DIMENSIONS)
    assert cost(logits, vad).tolist() == pytest.approx(
        expected_over_classes(logits, vad, interpolated), abs=1e-6
    )


def test_the_graded_table_follows_from_the_norms():
    norms, graded = shipped("prototypes", "pad"), shipped("tables", "graded")
    assert list(graded) == list(norms)
    for category, dimension in product(norms, DIMENSIONS):
        distances = [abs(value - norms[category][dimension]) for value in (1, 0, -1)]
        expected = [(distance - min(distances)) / 2 for distance in distances]
        assert graded[category][dimension] == pytest.approx(expected, abs=1e-12)


def test_straight_through_has_the_value_of_the_printed_cost_and_the_gradient_of_the_hinge():
    for table in RULES:
        logits, vad = (x.requires_grad_() for x in some_samples())
        options = {"table": table, "zero_band": 0.1, "margin": 0.4}
        straight = StraightThrough(FER2013_LABELS, DIMENSIONS, **options)(logits, vad)
        hinge = ExpectedHinge(FER2013_LABELS, DIMENSIONS, **options)(logits, vad)
        step = StepCost(FER2013_LABELS, DIMENSIONS, table=table, zero_band=0.1)(logits, vad)
        assert torch.equal(straight, step)
        for ours, theirs in zip(
            torch.autograd.grad(straight.sum(), (logits, vad)),
            torch.autograd.grad(hinge.sum(), (logits, vad)),
            strict=True,
        ):
            assert torch.equal(ours, theirs)
            assert ours.abs().sum() > 0


@pytest.mark.parametrize("distance", ["squared", "euclidean"])
def test_the_prototype_cost_is_the_distance_to_the_mean_norm_of_the_classes(distance):
    logits, vad = some_samples()
    norms = [
        [shipped("prototypes", "pad")[label][dimension] for dimension in DIMENSIONS]
        for label in FER2013_LABELS
    ]
    expected = []
    for sample, values in zip(logits.tolist(), vad.tolist(), strict=True):
        p = softmax(sample)
        mean = [sum(p[c] * norms[c][d] for c in range(7)) for d in range(3)]
        squared = sum((value - m) ** 2 for value, m in zip(values, mean, strict=True))
        expected.append(squared if distance == "squared" else math.sqrt(squared))
    cost = PrototypeCost(FER2013_LABELS, DIMENSIONS, distance=distance)
    assert cost(logits, vad).tolist() == pytest.approx(expected, abs=1e-6)
    assert list(cost.parameters()) == []


def test_learned_prototypes_start_at_the_norms_and_move_to_the_data():
    cost = PrototypeCost(FER2013_LABELS, DIMENSIONS, learned=True)
    start = PrototypeCost(FER2013_LABELS, DIMENSIONS).prototypes
    assert torch.equal(cost.prototypes.detach(), start)
    truth = torch.rand(7, 3) * 2 - 1
    logits, vad = certain(*range(7)), truth
    optimizer = torch.optim.SGD(cost.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        cost(logits, vad).sum().backward()
        optimizer.step()
    torch.testing.assert_close(cost.prototypes.detach(), truth, atol=1e-4, rtol=0)


def test_a_value_on_its_prototype_has_a_finite_gradient():
    vad = torch.tensor([[0.81, 0.51, 0.46]], requires_grad=True)
    cost = PrototypeCost(["happy"], DIMENSIONS, distance="euclidean")(torch.zeros(1, 1), vad)
    cost.sum().backward()
    assert cost.item() == 0
    assert vad.grad.isfinite().all()
