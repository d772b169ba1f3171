"""`medvqa doctor`: checks of this machine that find what would stop a run."""

from imageclef_vqa.doctor.check import Check
from imageclef_vqa.doctor.examine import examine

__all__ = ["Check", "examine"]
