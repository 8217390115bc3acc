"""Files that appear complete or not at all."""

from __future__ import annotations

import pytest

from emozoo.files import complete
from emozoo.trees import read_tree, write_tree


def test_a_file_appears_once_it_is_written_and_nothing_stays_beside_it(tmp_path):
    path = tmp_path / "made" / "tree.json"
    with complete(path) as place:
        write_tree(place, {"title": "schön", "n": 3})
        assert not path.exists()
    assert read_tree(path) == {"title": "schön", "n": 3}
    assert [item.name for item in path.parent.iterdir()] == ["tree.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_where_something_goes_wrong_the_older_file_stays(error, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("old")
    with pytest.raises(error), complete(path) as place:  # noqa: PT012
        place.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["words.txt"]


def test_what_is_taken_away_again_replaces_nothing(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("old")
    with complete(path) as place:
        place.write_text("new")
        place.unlink()
    assert path.read_text() == "old"
