"""Reports are complete, self-contained, and safe with names that others chose."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from emozoo.evaluation.metrics import classification_measure, on_source_scale, vad_measure
from emozoo.evaluation.report import result_tables, write_report
from emozoo.evaluation.tables import Table, better_low, entry, metric_title, number

LABELS = ("angry", "happy", "sad")
VAD = ("valence", "arousal", "dominance")
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and holds every element to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def a_result(labels: tuple[str, ...] = LABELS, **more: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    p, y = generator.dirichlet(np.ones(len(labels)), 60), generator.integers(0, len(labels), 60)
    target = generator.uniform(-1, 1, (60, 3))
    target[31:] = np.nan
    vad = vad_measure(np.zeros((60, 3)), target, VAD, baseline=[0.1, 0.2, 0.3], resamples=50)
    return {
        "name": "mini",
        "dataset": "FER2013",
        "split": "public_test",
        "n": 60,
        "tta": "ten-crop",
        "heads": {
            "emotion": {"task": "classification", **classification_measure(p, y, labels, resamples=50)},
            "affect": {"task": "vad", **vad, "source_scale": on_source_scale(vad, (-2, 2))},
        },
        "consistency": {
            "table": "paper",
            "n": 60,
            "violation_rate": 0.25,
            "per_dimension": {"valence": 0.125},
            "annotation_n": 31,
            "annotation_violation_rate": 0.5,
        },
        "notes": ["This split also selected the checkpoint."],
        "versions": {"torch": "2.15.0"},
        **more,
    }


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "my picture_1.png"
    Image.new("RGB", (4, 3), "red").save(path)
    return path


def written(result: dict[str, Any], folder: Path, pictures: list[Path]) -> tuple[str, str]:
    write_report(result, folder, pictures)
    return (folder / "report.md").read_text("utf-8"), (folder / "report.html").read_text("utf-8")


def test_both_reports_name_split_n_intervals_baselines_and_notes(tmp_path: Path, picture: Path) -> None:
    result = a_result()
    markdown, html = written(result, tmp_path, [picture])
    shown = " ".join(Page(html).text)
    accuracy = result["heads"]["emotion"]["metrics"]["accuracy"]
    mse = result["heads"]["affect"]["metrics"]["valence_mse"]
    baseline = result["heads"]["affect"]["baseline"]["metrics"]["valence_mse"]
    low, high = accuracy["interval"]
    for text in (
        "mini on FER2013, public_test",
        "ten-crop",
        "n = 60",
        "n = 31",
        f"{100 * accuracy['value']:.2f} %",
        f"[{100 * low:.2f}, {100 * high:.2f}]",
        f"{mse['value']:.3f} [",
        f"{baseline:.3f}",
        "constant predictor",
        "training mean: valence 0.100, arousal 0.200, dominance 0.300",
        f"{4 * mse['value']:.3f} [",
        "most frequent class",
        "25.00 %",
        "12.50 %",
        "50.00 %",
        "table paper",
        "This split also selected the checkpoint.",
        "torch 2.15.0",
        "undefined",
    ):
        assert text in markdown
        assert text in shown


def test_the_html_stands_alone_with_its_pictures_inside(tmp_path: Path, picture: Path) -> None:
    _, html = written(a_result(), tmp_path, [picture])
    page = Page(html)
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    media, _, data = (image["src"] or "").partition(";base64,")
    assert media == "data:image/png"
    assert base64.b64decode(data) == picture.read_bytes()
    assert image["alt"] == "my picture 1"
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert "http" not in html.replace("http-equiv", "")


def test_the_markdown_links_pictures_relative_to_itself(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "out").mkdir()
    markdown, _ = written(a_result(), tmp_path / "out", [picture])
    assert "![my picture 1](../my%20picture_1.png)" in markdown


def test_hostile_names_are_shown_and_never_obeyed(tmp_path: Path) -> None:
    hostile = ("<script>alert(1)</script>", "a|b\n# c", "[x](javascript:alert(1))")
    result = a_result(hostile, name='"><img src=x onerror=alert(1)>', notes=["<b>bold</b> & `code`"])
    markdown, html = written(result, tmp_path, [])
    page = Page(html)
    assert not {"script", "img", "b", "a"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "<" not in markdown
    assert not re.search(r"(?<!\\)`", markdown)
    assert "](" not in markdown
    assert not [line for line in markdown.splitlines() if line.startswith("# c")]


def test_every_row_of_a_markdown_table_has_the_columns_of_its_header() -> None:
    for table in result_tables(a_result(("a|b", "c\\", "d"))):
        lines = table.to_markdown().splitlines()
        assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines} == {len(table.header) + 1}


def test_a_result_without_consistency_notes_or_name_is_reported(tmp_path: Path) -> None:
    result = a_result(consistency=None, notes=[])
    del result["name"]
    markdown, _ = written(result, tmp_path, [])
    assert markdown.startswith("# evaluation on FER2013, public_test")
    assert "Consistency" not in markdown
    assert ">" not in markdown


def test_a_head_of_an_unknown_task_is_reported_by_its_metrics(tmp_path: Path) -> None:
    age = {"task": "age", "n": 5, "primary": "score", "metrics": {"score": {"value": 0.5, "interval": None}}}
    markdown, _ = written(a_result(heads={"age": age}), tmp_path, [])
    assert "| score | 0.500 |  |" in markdown


def test_a_large_label_set_has_no_table_of_counts_but_all_its_classes() -> None:
    titles = [table.title for table in result_tables(a_result(tuple(f"c{i}" for i in range(20))))]
    assert not [title for title in titles if "counts" in title]
    assert "emotion: by class (n = 60)" in titles


def test_metrics_are_shown_in_their_own_unit() -> None:
    assert number("accuracy", 0.72965) == "72.97 %"
    assert number("violation_rate", 0.5) == "50.00 %"
    assert number("valence_ccc", 0.5) == "0.500"
    assert number("uar", None) == "undefined"
    assert entry("uar", {"value": 0.5, "interval": [0.4, 0.6]}) == "50.00 % [40.00, 60.00]"
    assert entry("nll", {"value": 1.5, "interval": None}) == "1.500"
    assert metric_title("valence_ccc") == "valence CCC"
    assert [better_low(name) for name in ("valence_mse", "nll", "violation_rate", "ccc", "accuracy")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_table_in_markdown_escapes_its_header_too() -> None:
    assert Table("t", ("a|b", "c"), (("1", "2"),)).to_markdown() == "| a\\|b | c |\n|:---|---:|\n| 1 | 2 |"
