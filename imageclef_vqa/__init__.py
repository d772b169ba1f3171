"""From the MEDVQA-GI files to a submission that is accepted and scored as meant."""

__version__ = "0.1.0"
