"""Runs: checked before they are written, written whole, read back, and described by a manifest."""

from imageclef_vqa.submission.checks import Finding, Run, check_run
from imageclef_vqa.submission.manifest import hashes, make_manifest, manifest_path
from imageclef_vqa.submission.readers import read_run
from imageclef_vqa.submission.records import Submission
from imageclef_vqa.submission.writers import is_team_zip, team_zip, write_run

__all__ = [
    "Finding",
    "Run",
    "Submission",
    "check_run",
    "hashes",
    "is_team_zip",
    "make_manifest",
    "manifest_path",
    "read_run",
    "team_zip",
    "write_run",
]
