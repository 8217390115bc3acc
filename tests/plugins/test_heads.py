from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from emozoo import registry
from emozoo.contracts import Targets
from emozoo.errors import ContractError, RecipeError, TrainingError
from emozoo_heads.classification import ClassificationHead
from emozoo_heads.vad import VADHead

LABELS = ("angry", "happy", "sad", "neutral")
NAN = float("nan")


def _classes(indices: list[int | None]) -> Targets:
    label = torch.stack(
        [torch.full((4,), NAN) if i is None else F.one_hot(torch.tensor(i), 4).float() for i in indices]
    )
    return Targets(label, torch.full((len(indices), 3), NAN))


def _soft(n: int, seed: int = 0) -> Targets:
    generator = torch.Generator().manual_seed(seed)
    return Targets(torch.rand(n, 4, generator=generator).softmax(1), torch.full((n, 3), NAN))


def _values(rows: list[list[float]]) -> Targets:
    return Targets(torch.full((len(rows), 4), NAN), torch.tensor(rows))


def _logits(n: int, columns: int = 4) -> torch.Tensor:
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(1), requires_grad=True)


class TestClassification:
    def test_without_hidden_layers_the_head_is_one_linear_layer(self):
        head = ClassificationHead(6, LABELS)
        assert [tuple(p.shape) for p in head.parameters()] == [(4, 6), (4,)]
        assert head(torch.randn(3, 6)).shape == (3, 4)
        assert (head.task, head.out_features) == ("classification", 4)

    def test_hidden_layers_have_relu_between_and_dropout_before_the_last(self):
        head = ClassificationHead(6, LABELS, hidden=(5, 3), dropout=0.4)
        kinds = [type(layer) for layer in head.layers]
        assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
        assert [layer.out_features for layer in head.layers if isinstance(layer, nn.Linear)] == [5, 3, 4]
        assert head.layers[4].p == 0.4

    def test_the_dropout_rate_does_not_change_parameter_names(self):
        assert list(ClassificationHead(6, LABELS).state_dict()) == list(
            ClassificationHead(6, LABELS, dropout=0.5).state_dict()
        )

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    @pytest.mark.parametrize("weights", ["none", (0.5, 1.0, 2.0, 3.0)])
    @pytest.mark.parametrize("targets", [_classes([0, 3, 1, 1, 2]), _soft(5)], ids=["hard", "soft"])
    def test_ce_is_torchs_cross_entropy_on_probabilities(self, targets, weights, smoothing):
        criterion = ClassificationHead(6, LABELS).criterion(
            targets, label_smoothing=smoothing, class_weights=weights
        )
        output, reference = _logits(5), _logits(5)
        weight = None if weights == "none" else torch.tensor(weights)
        expected = F.cross_entropy(reference, targets.label, weight, label_smoothing=smoothing)
        loss = criterion(output, targets)
        torch.testing.assert_close(loss, expected)
        loss.backward()
        expected.backward()
        torch.testing.assert_close(output.grad, reference.grad)

    def test_unlabelled_rows_change_neither_loss_nor_their_own_logits(self):
        targets = _classes([2, None, 0, None])
        output, reference = _logits(4), _logits(4)
        criterion = ClassificationHead(6, LABELS).criterion(targets, label_smoothing=0.1)
        loss = criterion(output, targets)
        loss.backward()
        expected = F.cross_entropy(reference[[0, 2]], torch.tensor([2, 0]), label_smoothing=0.1)
        expected.backward()
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(output.grad, reference.grad)
        assert not output.grad[[1, 3]].any()

    @pytest.mark.parametrize("loss", ["ce", "bce"])
    def test_a_batch_without_labels_costs_0_and_gives_a_gradient_of_0(self, loss):
        output = _logits(2)
        criterion = ClassificationHead(6, LABELS).criterion(_classes([0]), loss=loss, label_smoothing=0.1)
        value = criterion(output, _classes([None, None]))
        value.backward()
        assert value.item() == 0
        assert output.grad.tolist() == torch.zeros(2, 4).tolist()

    def test_bce_is_ceflnets_equation_11_summed_over_classes(self):
        targets, output = _soft(5), _logits(5)
        weights = (0.5, 1.0, 2.0, 3.0)
        rows = []
        for logits, target in zip(
            output.detach().double().numpy(), targets.label.double().numpy(), strict=True
        ):
            p = np.exp(logits) / np.exp(logits).sum()
            rows.append(
                -sum(
                    w * (y * math.log(q) + (1 - y) * math.log(1 - q))
                    for w, y, q in zip(weights, target, p, strict=True)
                )
            )
        criterion = ClassificationHead(6, LABELS).criterion(targets, loss="bce", class_weights=weights)
        assert criterion(output, targets).item() == pytest.approx(np.mean(rows), rel=1e-5)

    def test_bce_stays_finite_where_the_softmax_rounds_to_1(self):
        output = torch.tensor([[60.0, 0.0, 0.0, 0.0]], requires_grad=True)
        loss = ClassificationHead(6, LABELS).criterion(_classes([1]), loss="bce")(output, _classes([1]))
        loss.backward()
        assert loss.item() == pytest.approx(60 + 60 - math.log(3), rel=1e-5)
        assert output.grad.isfinite().all()

    def test_balanced_weights_are_those_of_sklearn_and_0_for_a_class_without_samples(self):
        from sklearn.utils.class_weight import compute_class_weight

        indices = [0, 0, 0, 1, 3, 3]
        expected = dict(
            zip(
                [0, 1, 3],
                compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=indices),
                strict=True,
            )
        )
        criterion = ClassificationHead(6, LABELS).criterion(
            _classes([*indices, None]), class_weights="balanced"
        )
        for index in range(4):
            loss = criterion(torch.zeros(1, 4), _classes([index])).item()
            assert loss == pytest.approx(expected.get(index, 0) * math.log(4), rel=1e-6)

    def test_half_precision_logits_are_judged_in_single_precision(self):
        targets = _soft(5)
        criterion = ClassificationHead(6, LABELS).criterion(targets)
        output = _logits(5).detach().bfloat16()
        assert torch.equal(criterion(output, targets), criterion(output.float(), targets))

    def test_an_output_of_another_shape_is_refused_with_both_shapes(self):
        criterion = ClassificationHead(6, LABELS).criterion(_classes([0]))
        with pytest.raises(ContractError, match=r"output of shape \(1, 4\) for labels of shape \(3, 4\)"):
            criterion(torch.zeros(1, 4), _classes([0, 1, 2]))

    def test_training_targets_over_other_labels_are_refused(self):
        with pytest.raises(ContractError, match=r"targets of shape \(2, 7\), expected \(N, 4\)"):
            ClassificationHead(6, LABELS).criterion(Targets(torch.zeros(2, 7), torch.zeros(2, 3)))

    def test_a_head_without_any_label_to_learn_from_is_an_error(self):
        with pytest.raises(TrainingError, match="no training sample has a label"):
            ClassificationHead(6, LABELS).criterion(_classes([None, None]))

    @pytest.mark.parametrize("weights", [(1.0, 2.0), (1.0, 1.0, 1.0, -1.0), (1.0, 1.0, 1.0, math.inf)])
    def test_class_weights_that_do_not_fit_the_labels_are_refused(self, weights):
        with pytest.raises(
            RecipeError, match=r"class_weights: \d values .* 4 labels \(angry, happy, sad, neutral\)"
        ):
            ClassificationHead(6, LABELS).criterion(_classes([0]), class_weights=weights)

    def test_decoding_names_the_most_probable_label_and_gives_every_probability(self):
        decoded = ClassificationHead(6, LABELS).decode(
            torch.tensor([[0.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 5.0]])
        )
        assert [row["label"] for row in decoded] == ["happy", "neutral"]
        assert list(decoded[0]["probabilities"]) == list(LABELS)
        assert decoded[0]["probabilities"]["happy"] == pytest.approx(math.exp(2) / (math.exp(2) + 3))
        assert json.loads(json.dumps(decoded)) == decoded

    def test_measuring_takes_labelled_rows_only_and_the_top_of_a_soft_label(self):
        label = torch.tensor([[0.6, 0.4, 0, 0], [NAN] * 4, [0, 0, 0, 1.0], [0, 0.9, 0.1, 0]])
        output = torch.eye(4)[[0, 1, 2, 1]] * 9
        measured = ClassificationHead(6, LABELS).measure(
            output, Targets(label, torch.zeros(4, 3)), resamples=20
        )
        assert measured["n"] == 3
        assert measured["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
        assert measured["metrics"]["accuracy"]["interval"] is not None

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dropout": 1.0}, r"model.heads.emotion.dropout: .*less than 1 \(given: 1.0\)"),
            ({"hidden": [64, 0]}, r"model.heads.emotion.hidden.1: .*greater than 0 \(given: 0\)"),
            ({"hiden": []}, r"model.heads.emotion.hiden: unknown key. Did you mean 'hidden'\?"),
        ],
    )
    def test_a_wrong_option_is_named_with_its_path(self, options, message):
        with pytest.raises(RecipeError, match=message):
            registry.build("head", "classification", options, 6, LABELS, where="model.heads.emotion")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"label_smoothing": 1.5}, r"train.losses.emotion.label_smoothing: .*less than or equal to 1"),
            ({"loss": "bse"}, r"train.losses.emotion.loss: .* Did you mean 'bce'\?"),
            ({"class_weights": "balance"}, r"train.losses.emotion.class_weights.* Did you mean 'balanced'\?"),
            (
                {"smoothing": 0.1},
                r"train.losses.emotion.smoothing: unknown key. Did you mean 'label_smoothing'\?",
            ),
        ],
    )
    def test_a_wrong_loss_option_is_named_with_its_path(self, options, message):
        head = ClassificationHead(6, LABELS)
        with pytest.raises(RecipeError, match=message):
            registry.check_options(head.criterion, options, "train.losses.emotion")


def _ccc(x: np.ndarray, y: np.ndarray) -> float:
    """Lin (1989), with population moments."""
    return float(
        2 * ((x - x.mean()) * (y - y.mean())).mean() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    )


def _plain_vad_loss(output: np.ndarray, target: np.ndarray, ccc: float) -> float:
    squares = [(o - t) ** 2 for o, t in zip(output.ravel(), target.ravel(), strict=True) if not math.isnan(t)]
    concordances = []
    for column in range(target.shape[1]):
        known = ~np.isnan(target[:, column])
        if known.sum() >= 2:
            concordances.append(1 - _ccc(output[known, column], target[known, column]))
    return (1 - ccc) * np.mean(squares) + ccc * (np.mean(concordances) if concordances else 0)


PARTLY = _values(
    [[0.5, NAN, NAN], [-0.2, 0.3, NAN], [NAN, 0.9, 0.1], [0.8, -0.7, NAN], [NAN, NAN, NAN], [0.1, 0.4, NAN]]
)
COMPLETE = _values([[0.5, 0.1, -0.4], [-0.2, 0.3, 0.7], [0.6, 0.9, 0.1], [0.8, -0.7, -0.9]])


class TestVAD:
    @pytest.mark.parametrize("targets", [PARTLY, COMPLETE], ids=["partly missing", "complete"])
    @pytest.mark.parametrize("ccc", [0.0, 0.3, 1.0])
    def test_the_loss_is_the_mix_of_mse_and_ccc_over_present_labels(self, targets, ccc):
        output = _logits(len(targets), 3).detach().tanh()
        loss = VADHead(6, LABELS).criterion(COMPLETE, ccc=ccc)(output, targets).item()
        assert loss == pytest.approx(
            _plain_vad_loss(output.double().numpy(), targets.vad.double().numpy(), ccc), rel=1e-5
        )

    def test_perfect_agreement_costs_nothing_and_perfect_disagreement_costs_2(self):
        criterion = VADHead(6, LABELS).criterion(COMPLETE, ccc=1.0)
        assert criterion(COMPLETE.vad, COMPLETE).item() == pytest.approx(0, abs=1e-6)
        centred = _values((COMPLETE.vad - COMPLETE.vad.mean(0)).tolist())
        assert criterion(-centred.vad, centred).item() == pytest.approx(2, abs=1e-6)

    @pytest.mark.parametrize("ccc", [0.0, 0.5, 1.0])
    def test_missing_labels_receive_no_gradient_and_present_ones_do(self, ccc):
        output = _logits(len(PARTLY), 3)
        VADHead(6, LABELS).criterion(COMPLETE, ccc=ccc)(output, PARTLY).backward()
        present = ~PARTLY.vad.isnan()
        if ccc == 1:
            present[:, 2] = False  # one label alone has no concordance
        assert torch.equal(output.grad != 0, present)

    @pytest.mark.parametrize("ccc", [0.0, 0.5, 1.0])
    def test_a_batch_without_labels_costs_0_and_gives_a_gradient_of_0(self, ccc):
        output = _logits(2, 3)
        loss = VADHead(6, LABELS).criterion(COMPLETE, ccc=ccc)(output, _values([[NAN] * 3] * 2))
        loss.backward()
        assert loss.item() == 0
        assert output.grad.tolist() == torch.zeros(2, 3).tolist()

    def test_constant_outputs_and_targets_give_a_finite_concordance_gradient(self):
        output = torch.zeros(3, 3, requires_grad=True)
        loss = VADHead(6, LABELS).criterion(COMPLETE, ccc=1.0)(output, _values([[0.0] * 3] * 3))
        loss.backward()
        assert loss.item() == 1
        assert output.grad.isfinite().all()

    @pytest.mark.parametrize("shape", [(4,), (4, 1), (1, 3), (4, 2)])
    def test_an_output_of_another_shape_is_refused_with_both_shapes(self, shape):
        criterion = VADHead(6, LABELS).criterion(COMPLETE)
        with pytest.raises(ContractError) as error:
            criterion(torch.zeros(shape), COMPLETE)
        assert f"output of shape {shape} for targets of shape (4, 3)" in str(error.value)

    def test_targets_without_three_columns_are_refused(self):
        targets = Targets(torch.zeros(2, 4), torch.zeros(2, 1))
        with pytest.raises(ContractError, match=r"targets of shape \(2, 1\), expected \(N, 3\)"):
            VADHead(6, LABELS, dimensions=("valence",)).criterion(targets)

    def test_the_columns_follow_the_dimensions_asked_for(self):
        head = VADHead(6, LABELS, dimensions=("dominance", "valence"))
        assert head(torch.randn(5, 6)).shape == (5, head.out_features) == (5, 2)
        criterion = head.criterion(COMPLETE)
        assert criterion(COMPLETE.vad[:, [2, 0]], COMPLETE).item() == 0
        assert list(head.decode(torch.tensor([[0.5, -0.25]]))[0].items()) == [
            ("dominance", 0.5),
            ("valence", -0.25),
            ("scale", "[-1, 1]"),
        ]

    @pytest.mark.parametrize(("bounded", "largest"), [("tanh", 1.0), ("clip", 1.0), ("none", 40.0)])
    def test_outputs_are_bounded_as_declared_and_keep_their_gradient(self, bounded, largest):
        head = VADHead(1, LABELS, bounded=bounded)
        with torch.no_grad():
            head.layers[-1].weight.fill_(1.0)
            head.layers[-1].bias.zero_()
        features = torch.tensor([[-40.0], [-0.5], [0.5], [40.0]], requires_grad=True)
        output = head(features)
        assert output.abs().max().item() == largest
        expected = math.tanh(0.5) if bounded == "tanh" else 0.5
        assert output[2].tolist() == pytest.approx([expected] * 3)
        output.sum().backward()
        assert bounded == "tanh" or features.grad.tolist() == [[3.0]] * 4

    def test_the_training_mean_of_present_labels_is_saved_with_the_weights(self):
        head = VADHead(6, LABELS)
        assert head.train_mean.tolist() == [0, 0, 0]
        head.criterion(PARTLY)
        expected = np.nanmean(PARTLY.vad.numpy(), axis=0)
        np.testing.assert_allclose(head.train_mean.numpy(), expected, atol=1e-7)
        copy = VADHead(6, LABELS)
        copy.load_state_dict(head.state_dict())
        assert torch.equal(copy.train_mean, head.train_mean)

    def test_measurements_stand_beside_the_training_mean(self):
        head = VADHead(6, LABELS, dimensions=("valence", "dominance"))
        head.criterion(COMPLETE)
        targets = _values([[0.1, NAN, 0.2], [0.4, NAN, NAN], [-0.9, 0.5, -0.3]])
        output = torch.tensor([[0.2, 0.1], [0.3, 0.9], [-0.5, -0.2]])
        measured = head.measure(output, targets, resamples=10)
        valence = targets.vad[:, 0].double().numpy()
        assert measured["metrics"]["valence_mse"]["value"] == pytest.approx(
            np.mean((output[:, 0].double().numpy() - valence) ** 2)
        )
        assert measured["baseline"]["metrics"]["valence_mse"] == pytest.approx(
            np.mean((COMPLETE.vad[:, 0].double().numpy().mean() - valence) ** 2), rel=1e-6
        )
        assert measured["dimensions"] == {"valence": 3, "dominance": 2}

    def test_a_dimension_without_any_training_label_is_an_error(self):
        with pytest.raises(TrainingError, match="no training sample has arousal, dominance"):
            VADHead(6, LABELS).criterion(_values([[0.5, NAN, NAN], [0.1, NAN, NAN]]))

    def test_the_heads_build_on_the_meta_device(self):
        with torch.device("meta"):
            head = VADHead(6, LABELS)
        head.load_state_dict(VADHead(6, LABELS).state_dict(), assign=True)
        assert not [name for name, value in head.state_dict().items() if value.is_meta]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dimensions": ["valense"]}, r"model.heads.affect.dimensions.0: .* Did you mean 'valence'\?"),
            (
                {"dimensions": []},
                r"model.heads.affect: emozoo:vad: dimensions \[\]: name one or more of valence",
            ),
            (
                {"dimensions": ["arousal", "arousal"]},
                "name one or more of valence, arousal, dominance, each once",
            ),
            ({"bounded": "sigmoid"}, r"model.heads.affect.bounded: .*'tanh', 'clip' or 'none'"),
        ],
    )
    def test_a_wrong_option_is_named_with_its_path(self, options, message):
        with pytest.raises(RecipeError, match=message):
            registry.build("head", "vad", options, 6, LABELS, where="model.heads.affect")

    def test_a_wrong_loss_option_is_named_with_its_path(self):
        with pytest.raises(
            RecipeError, match=r"train.losses.affect.ccc: .*less than or equal to 1 \(given: 2\)"
        ):
            registry.check_options(VADHead(6, LABELS).criterion, {"ccc": 2}, "train.losses.affect")


def _parts(targets: Targets, size: int) -> list[tuple[slice, Targets]]:
    """The targets of each part of a batch, as several processes or accumulated passes have them."""
    slices = [slice(start, start + size) for start in range(0, len(targets), size)]
    return [(part, Targets(targets.label[part], targets.vad[part], targets)) for part in slices]


def _sparse(annotated: list[int], labelled: list[int]) -> Targets:
    """Twelve samples, a few of which have a category, and a few some values."""
    whole = Targets(torch.full((12, 4), NAN), torch.full((12, 3), NAN))
    for i in labelled:
        whole.label[i] = F.one_hot(torch.tensor(i % 4), 4).float()
    for i in annotated:
        whole.vad[i] = torch.tensor([0.5 - i / 12, NAN if i % 2 else 0.2, i / 12])
    return whole


class TestPartsOfABatch:
    BATCH = _sparse(annotated=[1, 2, 3, 10], labelled=[0, 2, 3, 4, 5, 6])

    @pytest.mark.parametrize("size", [1, 3, 6, 12])
    @pytest.mark.parametrize(
        ("head", "options"),
        [
            (ClassificationHead(6, LABELS), {"loss": "ce"}),
            (ClassificationHead(6, LABELS), {"loss": "bce", "class_weights": "balanced"}),
            (VADHead(6, LABELS), {}),
            (VADHead(6, LABELS, dimensions=("arousal",)), {}),
            (VADHead(6, LABELS), {"prior": 0.3}),
        ],
        ids=["cross entropy", "balanced", "vad", "arousal", "prior"],
    )
    def test_have_losses_whose_mean_and_its_gradient_are_those_of_the_batch(self, head, options, size):
        criterion = head.criterion(self.BATCH, **options)
        one, many = (_logits(12, head.out_features) for _ in range(2))
        whole = criterion(one, self.BATCH)
        mean = torch.stack([criterion(many[rows], part) for rows, part in _parts(self.BATCH, size)]).mean()
        assert float(whole.detach()) > 0
        torch.testing.assert_close(mean, whole)
        whole.backward()
        mean.backward()
        torch.testing.assert_close(many.grad, one.grad)

    def test_that_have_few_labels_of_it_move_its_concordance_by_few(self):
        batch = _sparse(annotated=[0, 2, 4, 6], labelled=[])
        criterion = VADHead(6, LABELS).criterion(batch, ccc=1.0)
        output = _logits(12, 3)
        mean = torch.stack([criterion(output[rows], part) for rows, part in _parts(batch, 4)]).mean()
        halves = [
            criterion(output[rows], Targets(batch.label[rows], batch.vad[rows]))
            for rows in (slice(0, 4), slice(4, 8))
        ]
        assert float(mean.detach()) == pytest.approx(float(sum(halves).detach()) / 2), "not a third"

    def test_without_any_label_cost_nothing(self):
        batch = _sparse([], [])
        for head in (ClassificationHead(6, LABELS), VADHead(6, LABELS)):
            criterion = head.criterion(self.BATCH)
            assert float(criterion(_logits(4, head.out_features), _parts(batch, 4)[0][1]).detach()) == 0
