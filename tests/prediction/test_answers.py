"""What a model of several heads says of a face: which head speaks, and where the others' parts stand."""

from __future__ import annotations

from typing import Any

from emozoo.prediction.answers import Answer, said

EMOTION = {"label": "happy", "probabilities": {"happy": 0.7, "sad": 0.3}}
OTHER = {"label": "sad", "probabilities": {"happy": 0.4, "sad": 0.6}}


def answer(**heads: dict[str, Any]) -> Answer:
    return Answer(**said(heads))


def test_each_dimension_is_said_by_the_first_head_that_has_it_as_of_separate_networks() -> None:
    found = answer(
        arousal={"arousal": 0.2}, emotion=EMOTION, valence={"valence": 0.5}, dominance={"dominance": -0.1}
    )
    assert found.vad == {"valence": 0.5, "arousal": 0.2, "dominance": -0.1}
    assert list(found.vad) == ["valence", "arousal", "dominance"]
    assert found.words() == "happy 70%  valence +0.50  arousal +0.20  dominance -0.10"
    assert found.columns() == {
        "label": "happy", "confidence": 0.7, "p_happy": 0.7, "p_sad": 0.3,
        "arousal": 0.2, "valence": 0.5, "dominance": -0.1,
    }  # fmt: skip
    assert "heads" not in found.answer(), "it says nothing more"


def test_what_further_heads_say_stands_under_their_names() -> None:
    found = answer(
        vad={"valence": 0.5, "spread": 0.1}, emotion=EMOTION, other=OTHER, again={"valence": 0.9, "pain": 0.3}
    )
    assert (found.label, found.vad) == ("happy", {"valence": 0.5})
    assert found.columns() == {
        "label": "happy", "confidence": 0.7, "p_happy": 0.7, "p_sad": 0.3,
        "other.label": "sad", "other.confidence": 0.6, "other.p_happy": 0.4, "other.p_sad": 0.6,
        "valence": 0.5, "spread": 0.1, "again.valence": 0.9, "again.pain": 0.3,
    }  # fmt: skip
    assert found.answer()["heads"].keys() == {"vad", "emotion", "other", "again"}


def test_a_head_that_speaks_for_one_dimension_keeps_its_others_under_its_name() -> None:
    found = answer(va={"valence": 0.5, "arousal": 0.2}, vd={"valence": 0.6, "dominance": -0.1})
    assert found.vad == {"valence": 0.5, "arousal": 0.2, "dominance": -0.1}
    assert found.columns() == {"valence": 0.5, "arousal": 0.2, "vd.valence": 0.6, "dominance": -0.1}
