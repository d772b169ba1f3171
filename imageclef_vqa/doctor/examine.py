"""All checks in the order in which they are printed."""

from __future__ import annotations

from collections.abc import Iterator

from imageclef_vqa.doctor.ascend_software import check_ascend
from imageclef_vqa.doctor.check import Check
from imageclef_vqa.doctor.devices import check_devices
from imageclef_vqa.doctor.machine import check_data, check_disk, check_processor
from imageclef_vqa.doctor.software import check_packages, check_python
from imageclef_vqa.workspace import Workspace


def examine(workspace: Workspace, device: str | None = None) -> Iterator[Check]:
    """All checks, one after another; with `device`, as in npu or npu:1, of no other device."""
    yield check_python()
    yield from check_packages()
    yield from check_ascend(wanted=device is not None and device.startswith("npu"))
    yield check_processor()
    yield check_disk(workspace)
    yield check_data(workspace)
    yield from check_devices(device)
