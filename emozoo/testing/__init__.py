"""The contracts as tests: what an author of a plugin calls, a line a component.

    from emozoo import testing

    def test_my_aggregator_keeps_its_contract():
        testing.check_aggregator("emozoo-mypaper:fan2", {"heads": 2})

A component is named as recipes name it, so its entry point and its options are checked along with it; the
plugin must be installed (`pip install -e .`). The first thing that breaks the contract is raised as a
ContractError, which says what it is, where, and how to mend it. Checks need neither data nor a network and
take about a second each; where there is a GPU, they run there too.
"""

from __future__ import annotations

from emozoo.testing.aggregator import check_aggregator
from emozoo.testing.backbone import check_backbone
from emozoo.testing.consistency import check_consistency
from emozoo.testing.dataset import check_dataset
from emozoo.testing.detector import check_detector
from emozoo.testing.head import check_head

__all__ = [
    "check_aggregator",
    "check_backbone",
    "check_consistency",
    "check_dataset",
    "check_detector",
    "check_head",
]
