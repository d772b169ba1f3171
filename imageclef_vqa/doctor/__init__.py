"""`medvqa doctor`: what this machine has, and what of it would stop a run."""

from imageclef_vqa.doctor.check import Check
from imageclef_vqa.doctor.examine import examine

__all__ = ["Check", "examine"]
