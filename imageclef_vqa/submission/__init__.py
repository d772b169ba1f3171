"""Runs: read and written in every format, checked completely, and described by a manifest.

    parsed = parse_run(content, name, suffix)       # a file, maybe another team's: answers and faults
    findings = check_run(RunAnswers(parsed.as_lists(), image_ids, vocabulary, …))
    content = render_run(path, answers, image_ids)  # read back and compared
    manifest = make_manifest(path.name, content, …)

`formats` and `checks` do not know each other: they share `run` (answers, their order, and findings).
"""

from imageclef_vqa.submission.checks import Verdict, check_run, organisers_verdict
from imageclef_vqa.submission.checks.sources import (
    Source,
    check_manifest,
    check_name,
    check_source,
)
from imageclef_vqa.submission.formats import parse_run, read_bytes, read_run, render_run, team_zip, write_run
from imageclef_vqa.submission.formats.parsed import Form, ParsedRun
from imageclef_vqa.submission.manifest import (
    Manifest,
    ManifestItem,
    compare_manifest,
    hashes,
    list_hash,
    make_manifest,
    manifest_path,
    other_versions,
    read_manifest,
)
from imageclef_vqa.submission.run import (
    Answers,
    Finding,
    Pair,
    PairAnswers,
    RunAnswers,
    arrange,
    error,
    errors_in,
    images_of,
    in_order,
    warning,
)

__all__ = [
    "Answers",
    "Finding",
    "Form",
    "Manifest",
    "ManifestItem",
    "Pair",
    "PairAnswers",
    "ParsedRun",
    "RunAnswers",
    "Source",
    "Verdict",
    "arrange",
    "check_manifest",
    "check_name",
    "check_run",
    "check_source",
    "compare_manifest",
    "error",
    "errors_in",
    "hashes",
    "images_of",
    "in_order",
    "list_hash",
    "make_manifest",
    "manifest_path",
    "organisers_verdict",
    "other_versions",
    "parse_run",
    "read_bytes",
    "read_manifest",
    "read_run",
    "render_run",
    "team_zip",
    "warning",
    "write_run",
]
