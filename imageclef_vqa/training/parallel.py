"""Data parallelism: one process per device, each with a shard of every batch.

i images, g images of a group, o own images of a process.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from ctypes import CDLL
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import paddle
import paddle.distributed as distributed
from paddle import Tensor

from imageclef_vqa.environment import number_from
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.locks import run_writer
from imageclef_vqa.models.dropout import batch_rows
from imageclef_vqa.training.pairs import Batch

Item = TypeVar("Item")
_BACKENDS = {"cpu": "gloo", "gpu": "nccl"}
_DIE_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG
_MESSAGE = 2**26  # numbers in one message: 256 MB
# Words of gloo, NCCL and HCCL in what Paddle raises when another process has ended.
_LOST = re.compile(r"gloo|[nhx]ccl|TCPStore|Connection (reset|closed|refused)|Broken pipe", re.IGNORECASE)


@dataclass(frozen=True)
class Shard:
    """The part of a step's batch that one process computes at once.

    A batch is cut into groups, which follow one another (gradient accumulation); a group is cut into one shard per
    process. The losses of all shards of a batch add up to the loss of the batch.
    """

    whole: Batch
    group: Batch
    own: Batch
    group_indices: np.ndarray  # [g], in the whole batch
    own_indices: np.ndarray  # [o], in the group
    sizes: tuple[int, ...]  # images of the group in each process; empty if this process has all of them
    weight: float  # 1, or 1 / processes where every process computes the whole group

    @classmethod
    def single(cls, batch: Batch) -> Shard:
        """The whole batch as one shard, for a single process."""
        indices = np.arange(len(batch.images))
        return cls(batch, batch, batch, indices, indices, (), 1.0)

    @property
    def processes(self) -> int:
        """The number of processes that share the group."""
        return len(self.sizes) or 1

    @property
    def pair_weight(self) -> float:
        """The weight of this shard's mean over pairs in the mean over all pairs of the batch."""
        return self.weight * len(self.own.pairs) / len(self.whole.pairs)

    def dropout_rows(self) -> contextlib.AbstractContextManager[None]:
        """Within the block, each image drops out what it would in the whole batch."""
        return batch_rows(self.group_indices[self.own_indices], len(self.whole.images))

    def dropout_pairs(self) -> contextlib.AbstractContextManager[None]:
        """Within the block, each pair drops out what it would in the whole batch."""
        images = self.group_indices[self.own_indices]
        pairs = [np.flatnonzero(self.whole.image_of_pair == image) for image in images]
        return batch_rows(np.concatenate(pairs), len(self.whole.pairs))

    def all_gather(self, own: Tensor) -> Tensor:
        """From own rows [o, …] to the rows of all processes [g, …]. Gradients reach own rows only."""
        if not self.sizes:
            return own
        most = max(self.sizes)
        mine = own.detach()
        if len(mine) < most:
            mine = paddle.concat([mine, paddle.zeros([most - len(mine), *mine.shape[1:]], dtype=mine.dtype)])
        gathered: list[Tensor] = []
        distributed.all_gather(gathered, mine.contiguous())
        rows = [theirs[:size] for theirs, size in zip(gathered, self.sizes, strict=True)]
        rows[Processes().rank] = own
        return paddle.concat(rows)


class Processes:
    """The processes that train together, or the only one. `count` is their number, `rank` the index of this one."""

    def __init__(self) -> None:
        self.count = max(1, number_from("PADDLE_TRAINERS_NUM", 1))
        self.rank = number_from("PADDLE_TRAINER_ID", 0) if self.count > 1 else 0

    @classmethod
    def start(cls) -> Processes:
        """Connect to the other processes that `finetune --devices` or `paddle.distributed.launch` has started."""
        processes = cls()
        if processes.count > 1 and not distributed.is_initialized():
            kind = paddle.get_device().split(":")[0]
            os.environ.setdefault("PADDLE_DISTRI_BACKEND", _BACKENDS.get(kind, "xccl"))
            if kind not in _BACKENDS:
                os.environ.setdefault("PADDLE_XCCL_BACKEND", kind)  # Paddle 3.0 to 3.2 do not set it themselves
            CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)  # safe at any time: every file is written atomically
            with contextlib.redirect_stderr(io.StringIO()):  # Paddle prints the flags that `environment` has set
                distributed.init_parallel_env()
        return processes

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints messages."""
        return self.rank == 0

    @contextlib.contextmanager
    def session(self, folder: Path) -> Iterator[None]:
        """Within the block, the first process holds the lock of the run in `folder`, and a lost process is explained.

        Raises:
            MedvqaError: another program writes to `folder`, or another process was lost.
        """
        with run_writer(folder) if self.first else contextlib.nullcontext(), self.lost_process_explained():
            yield

    @contextlib.contextmanager
    def lost_process_explained(self) -> Iterator[None]:
        """Within the block, the end of another process becomes an error with a remedy.

        Raises:
            MedvqaError: another process could not be reached.
        """
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not _LOST.search(str(error)):
                raise
            raise MedvqaError(
                f"process {self.rank + 1} of {self.count} has lost the connection to another one",
                remedy="the same command resumes from the last saved state, on any number of devices",
            ) from None

    @contextlib.contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """Run the block in the first process, then in the others, which find its results in the cache."""
        if not self.first:
            self.barrier()
        yield
        if self.first:
            self.barrier()

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Element-wise sums over all processes, in float32."""
        if self.count == 1 or not numbers:
            return list(numbers)
        sums = paddle.to_tensor(list(numbers), dtype="float32")
        distributed.all_reduce(sums)
        return [float(each) for each in sums.numpy()]

    def own(self, items: Iterable[Item]) -> Iterator[Item]:
        """Every `count`-th item from this process's rank on."""
        return islice(items, self.rank, None, self.count)

    def shards(self, batch: Batch, groups: int) -> Iterator[Shard]:
        """This process's shard of each of the `groups` of `batch`."""
        for group_indices in np.array_split(np.arange(len(batch.images)), groups):
            if not len(group_indices):
                continue
            group = batch.part(group_indices)
            indices = np.arange(len(group_indices))
            if self.count == 1 or len(indices) < self.count:  # too few images: every process computes all of them
                yield Shard(batch, group, group, group_indices, indices, (), 1 / self.count)
                continue
            parts = np.array_split(indices, self.count)
            own = parts[self.rank]
            yield Shard(batch, group, group.part(own), group_indices, own, tuple(map(len, parts)), 1.0)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in place."""
        if self.count == 1:
            return
        for group in buckets(tensors):
            flat = flatten(group)
            distributed.all_reduce(flat)
            for tensor, value in zip(group, unflatten(flat, group), strict=True):
                tensor.copy_(value, True)

    def broadcast(self, tensors: Sequence[Tensor], owner: int) -> None:
        """Replace `tensors` by their values in the process of rank `owner`, in place."""
        if self.count == 1:
            return
        for group in buckets(tensors):
            flat = flatten(group)
            distributed.broadcast(flat, src=owner)
            if self.rank != owner:
                for tensor, value in zip(group, unflatten(flat, group), strict=True):
                    tensor.copy_(value, True)


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """`tensors` in groups of at most 256 MB, each sent as one message."""
    group: list[Tensor] = []
    for tensor in tensors:
        if group and sum(each.size for each in group) + tensor.size > _MESSAGE:
            yield group
            group = []
        group.append(tensor)
    if group:
        yield group


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of `tensors` in one float32 vector."""
    return paddle.concat([tensor.detach().astype("float32").flatten() for tensor in tensors])


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The vector `flat` cut into tensors of the shapes of `like`."""
    parts = paddle.split(flat, [tensor.size for tensor in like]) if len(like) > 1 else [flat]
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, like, strict=True)]
