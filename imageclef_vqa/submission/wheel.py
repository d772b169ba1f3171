"""A wheel of the installed package, so that a repository on the hub needs no package index for it."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path

import imageclef_vqa
from imageclef_vqa.errors import UsageError

_DATE = (1980, 1, 1, 0, 0, 0)  # equal packages give equal wheels


def make_wheel() -> tuple[str, bytes]:
    """Name and content of a wheel with the files of this package and the metadata of its installation.

    Raises:
        UsageError: the package runs from its sources, without metadata.
    """
    try:
        installed = distribution("imageclef-vqa")
    except PackageNotFoundError as error:
        raise UsageError(
            "this package is not installed, so that no wheel can be made of it", remedy="`pip install .` in its sources"
        ) from error
    root = Path(imageclef_vqa.__file__).parent
    version = imageclef_vqa.__version__
    files = {
        f"imageclef_vqa/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    return pack(version, files, _metadata(installed))


def _metadata(installed: Distribution) -> dict[str, str]:
    names = ("METADATA", "entry_points.txt", "top_level.txt")
    return {name: text for name in names if (text := installed.read_text(name)) is not None}


def pack(version: str, files: dict[str, bytes], metadata: dict[str, str]) -> tuple[str, bytes]:
    """Name and content of a wheel (PEP 427) of pure Python."""
    info = f"imageclef_vqa-{version}.dist-info"
    content = files | {f"{info}/{name}": text.encode() for name, text in metadata.items()}
    tags = "Wheel-Version: 1.0\nGenerator: imageclef-vqa\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{info}/WHEEL"] = tags.encode()
    record = "".join(f"{name},sha256={_digest(each)},{len(each)}\n" for name, each in content.items())
    content[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, each in content.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            wheel.writestr(entry, each)
    return f"imageclef_vqa-{version}-py3-none-any.whl", archive.getvalue()


def _digest(content: bytes) -> str:
    """As RECORD writes it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
