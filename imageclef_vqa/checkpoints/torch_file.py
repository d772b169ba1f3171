"""PyTorch's `.pth`, `.pt` and `.bin`: a pickle that describes tensors, followed by their elements.

`pickled` reads the pickle and runs nothing. The elements stay in the file until they are needed. Since
PyTorch 1.6 a file is a zip archive, stored and not compressed, with the pickle as `data.pkl` and a member
`data/<key>` per storage; before, it was a stream of five pickles, then the storages.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imageclef_vqa.checkpoints.pickled import Claim, DamagedError, RefusedError, read_pickle
from imageclef_vqa.checkpoints.stored import DTYPES, MOST_DIMENSIONS, Stored, span
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import open_input

_LARGEST_PICKLE = 200_000_000  # bytes
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older form
_SIGNATURE = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field
# Keys under which training code stores the tensors: LAVIS, DeepSpeed, timm, DINO and others.
_WRAPPERS = ("model", "state_dict", "module", "teacher", "student")

# What `zipfile` and this module raise for damaged bytes; DamagedError is a ValueError.
_DAMAGED = (OSError, EOFError, ValueError, OverflowError, RuntimeError, zipfile.BadZipFile, struct.error)

# Each storage's first byte and its number of bytes, by key.
Storages = Mapping[str, tuple[int, int]]


def open_torch_file(path: Path) -> dict[str, Stored]:
    """The tensors of a file by name, not read yet; everything else in the file is ignored.

    Raises:
        MedvqaError: the file is missing, damaged or truncated, or asks to run something.
    """
    try:
        with open_input(path) as file:
            begin = file.read(4)
        content, storages = _open_zip(path) if begin == _SIGNATURE else _open_stream(path)
        return {name: _stored(name, claim, storages, path) for name, claim in _tensors(content).items()}
    except RefusedError as error:
        raise MedvqaError(
            f"{path}: refused: it asks for {error}; nothing was run",
            remedy="only tensors are read: save them with torch.save(model.state_dict(), …) or as safetensors",
        ) from error
    except _DAMAGED as error:
        raise MedvqaError(f"cannot read weights from {path}: damaged or truncated ({error})") from error


def _open_zip(path: Path) -> tuple[Any, Storages]:
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        _name_what_is_cut(path, size)
    with open_input(path) as file, zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        pickles = [member for member in members if member.filename.split("/")[-1] == "data.pkl"]
        if len(pickles) != 1 or len({member.filename for member in members}) < len(members):
            raise MedvqaError(f"{path}: not a file of PyTorch: {len(pickles)} members are called data.pkl")
        root = pickles[0].filename.removesuffix("data.pkl")
        storages = {}
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise MedvqaError(f"{path}: {member.filename} is compressed, which PyTorch never does")
            file.seek(member.header_offset)
            signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            start = member.header_offset + _LOCAL_HEADER.size + name + extra
            if signature != _SIGNATURE or start + member.file_size > size:
                raise MedvqaError(f"{path}: truncated: {member.filename} ends after the end of the file")
            if member.filename.startswith(f"{root}data/"):
                storages[member.filename.removeprefix(f"{root}data/")] = (start, member.file_size)
            elif member.filename == f"{root}byteorder" and archive.read(member).strip() != b"little":
                raise MedvqaError(f"{path}: written on a machine with another byte order")
        if pickles[0].file_size > _LARGEST_PICKLE:
            raise MedvqaError(f"{path}: data.pkl has {pickles[0].file_size} bytes, more than any checkpoint")
        return read_pickle(io.BytesIO(archive.read(pickles[0]))), storages


def _name_what_is_cut(path: Path, size: int) -> None:
    """Find the members of an archive whose directory, at its end, is cut off.

    Raises:
        MedvqaError: the elements of a tensor are not all there.
    """
    storages, content = {}, None
    with _mapped(path) as whole:
        at = 0
        while at >= 0 and at + _LOCAL_HEADER.size <= size:
            _, name, extra = _LOCAL_HEADER.unpack_from(whole, at)
            start = at + _LOCAL_HEADER.size + name + extra
            member = whole[at + _LOCAL_HEADER.size : start - extra].split(b"/")[-1].decode(errors="replace")
            if member == "data.pkl" and content is None:
                whole.seek(start)
                content = read_pickle(whole)
            storages[member] = (start, size - start)
            at = whole.find(_SIGNATURE, start)
    for tensor, claim in _tensors(content).items():
        _stored(tensor, claim, storages, path)


def _open_stream(path: Path) -> tuple[Any, Storages]:
    """The older form: magic number, protocol, system, content, keys; then each storage's count and elements."""
    size = path.stat().st_size
    with _mapped(path) as file:
        if read_pickle(file) != _MAGIC or read_pickle(file) != _PROTOCOL:
            raise DamagedError("neither a zip archive nor a stream that PyTorch wrote")
        system = read_pickle(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise MedvqaError(f"{path}: written on a machine with another byte order")
        content, keys = read_pickle(file), read_pickle(file)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise DamagedError("no list of storages")
        widths = {claim.storage.key: DTYPES[claim.storage.dtype].itemsize for claim in _claims(content)}
        storages = {}
        for key in keys:
            if key not in widths:
                raise DamagedError(f"a storage {key!r} that no tensor has")
            length = int.from_bytes(file.read(8), "little") * widths[key]
            storages[key] = (file.tell(), min(length, size - file.tell()))
            file.seek(storages[key][1], io.SEEK_CUR)
        return content, storages


def _mapped(path: Path) -> mmap.mmap:
    """A file for reading; wrong lengths in it cannot make us allocate memory."""
    with open_input(path) as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _tensors(content: Any) -> dict[str, Claim]:
    """The table of tensors in what a file holds."""
    for _ in range(len(_WRAPPERS)):
        inner = [
            content[name] for name in _WRAPPERS if isinstance(content, dict) and isinstance(content.get(name), dict)
        ]
        content = inner[0] if inner else content
    if not isinstance(content, dict) or not any(isinstance(value, Claim) for value in content.values()):
        raise RefusedError("something other than a table of tensors")
    return {str(name): value for name, value in content.items() if isinstance(value, Claim)}


def _claims(content: Any) -> list[Claim]:
    """Every tensor in a tree of tables and lists, without recursion."""
    found, seen, waiting = [], set(), [content]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Claim):
            found.append(node)
        elif isinstance(node, dict | list | tuple) and id(node) not in seen:
            seen.add(id(node))
            waiting += node.values() if isinstance(node, dict) else node
    return found


def _stored(name: str, claim: Claim, storages: Storages, path: Path) -> Stored:
    storage, kind = claim.storage, DTYPES[claim.storage.dtype]
    if storage.key not in storages:
        raise MedvqaError(f"{path}: the elements of {name} (storage {storage.key}) are missing")
    start, length = storages[storage.key]
    if length < storage.count * kind.itemsize:
        raise MedvqaError(
            f"{path}: truncated: {name} needs {storage.count * kind.itemsize} bytes in storage {storage.key}, "
            f"of which the file has {max(length, 0)}"
        )
    if len(claim.shape) > MOST_DIMENSIONS:
        raise MedvqaError(f"{path}: {name} has {len(claim.shape)} dimensions, more than {MOST_DIMENSIONS}")
    count = math.prod(claim.shape)
    if count > storage.count or (count and claim.offset + span(claim.shape, claim.strides) > storage.count):
        raise MedvqaError(f"{path}: {name} {list(claim.shape)} reaches beyond its storage of {storage.count} elements")
    packed = _row_major(claim.shape)
    return Stored(
        name,
        path,
        start + claim.offset * kind.itemsize,
        storage.dtype,
        claim.shape,
        None if claim.strides == packed or count <= 1 else claim.strides,
    )


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[index + 1 :]) for index in range(len(shape)))
