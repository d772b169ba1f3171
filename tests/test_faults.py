"""Faults over the whole chain, only with `pytest --long`: they take half an hour."""

from __future__ import annotations

import faults
import pytest


@pytest.mark.parametrize(("fault", "tries"), [("kill", 30), ("disk", 20), ("interrupt", 25)])
def test_a_fault_ends_with_an_error_or_leads_to_the_same_bytes(request, fault, tries):
    if not request.config.getoption("--long"):
        pytest.skip("only with --long")
    assert len(list(faults.FAULTS[fault](tries, seed=0))) == tries
