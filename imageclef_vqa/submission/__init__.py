"""Runs: checked before they are written, written whole, read back, and described by a manifest."""

from imageclef_vqa.submission.checks import check_run
from imageclef_vqa.submission.findings import Finding, errors_in, finding
from imageclef_vqa.submission.manifest import (
    compare,
    hashes,
    list_hash,
    make_manifest,
    manifest_path,
    other_versions,
    read_manifest,
)
from imageclef_vqa.submission.organisers import organisers_verdict
from imageclef_vqa.submission.provenance import check_age, check_manifest, check_name, is_outdated
from imageclef_vqa.submission.readers import as_lists, examine, read_bytes, read_run
from imageclef_vqa.submission.records import Submission, arrange, in_order
from imageclef_vqa.submission.run import Run
from imageclef_vqa.submission.sources import Source, check_source
from imageclef_vqa.submission.writers import is_team_zip, render_run, team_zip, write_run

__all__ = [
    "Finding",
    "Run",
    "Source",
    "Submission",
    "arrange",
    "as_lists",
    "check_age",
    "check_manifest",
    "check_name",
    "check_run",
    "check_source",
    "compare",
    "errors_in",
    "examine",
    "finding",
    "hashes",
    "in_order",
    "is_outdated",
    "is_team_zip",
    "list_hash",
    "make_manifest",
    "manifest_path",
    "organisers_verdict",
    "other_versions",
    "read_bytes",
    "read_manifest",
    "read_run",
    "render_run",
    "team_zip",
    "write_run",
]
