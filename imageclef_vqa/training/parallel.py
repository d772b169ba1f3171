"""Many devices, one process each: who does which part of a batch, and how the parts meet.

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
from typing import TypeVar

import numpy as np
import paddle
import paddle.distributed as distributed
from paddle import Tensor

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.dropout import batch_rows
from imageclef_vqa.training.pairs import Batch

Item = TypeVar("Item")
_BACKENDS = {"cpu": "gloo", "gpu": "nccl"}
_DIE_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG
_AT_ONCE = 2**26  # numbers in one message: 256 MB
# What Paddle raises where another process has gone: the words of gloo, NCCL and HCCL.
_LOST = re.compile(r"gloo|[nhx]ccl|TCPStore|Connection (reset|closed|refused)|Broken pipe", re.IGNORECASE)


@dataclass(frozen=True)
class Shard:
    """What one process does of a step's batch at one go.

    A batch is cut into groups, done one after another; a group into a share for each process. What a share adds to a
    loss is such that all shares of a batch add up to the loss of the batch.
    """

    whole: Batch
    group: Batch
    own: Batch
    group_places: np.ndarray  # [g], in the whole batch
    own_places: np.ndarray  # [o], in the group
    sizes: tuple[int, ...]  # how many images of the group each process has; empty if this one has all
    weight: float  # 1; less where several processes do the same

    @classmethod
    def alone(cls, batch: Batch) -> Shard:
        """The share of the only process there is, which does all at once."""
        places = np.arange(len(batch.images))
        return cls(batch, batch, batch, places, places, (), 1.0)

    @property
    def processes(self) -> int:
        """How many have a part of the group."""
        return len(self.sizes) or 1

    @property
    def pairs(self) -> float:
        """The part of the batch's pairs that is this share's."""
        return self.weight * len(self.own.pairs) / len(self.whole.pairs)

    def rows(self) -> contextlib.AbstractContextManager[None]:
        """Within the block, each image drops out what it would in the whole batch."""
        return batch_rows(self.group_places[self.own_places], len(self.whole.images))

    def of_group(self, own: Tensor) -> Tensor:
        """From own rows [o, …] to the rows of all processes [g, …]. Gradients reach own rows only."""
        if not self.sizes:
            return own
        most = max(self.sizes)
        mine = own.detach()
        if len(mine) < most:
            mine = paddle.concat([mine, paddle.zeros([most - len(mine), *mine.shape[1:]], dtype=mine.dtype)])
        everyones: list[Tensor] = []
        distributed.all_gather(everyones, mine.contiguous())
        rows = [theirs[:size] for theirs, size in zip(everyones, self.sizes, strict=True)]
        rows[Processes().rank] = own
        return paddle.concat(rows)


class Processes:
    """The processes that train together; one, if `start` found no others."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
        self.rank = int(os.environ.get("PADDLE_TRAINER_ID", "0")) if self.count > 1 else 0

    @classmethod
    def start(cls) -> Processes:
        """Meet the others that `medvqa finetune --devices` or `paddle.distributed.launch` has started."""
        processes = cls()
        if processes.count > 1 and not distributed.is_initialized():
            kind = paddle.get_device().split(":")[0]
            os.environ.setdefault("PADDLE_DISTRI_BACKEND", _BACKENDS.get(kind, "xccl"))
            if kind not in _BACKENDS:
                os.environ.setdefault("PADDLE_XCCL_BACKEND", kind)  # which Paddle 3.0 to 3.2 do not find out
            CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
            with contextlib.redirect_stderr(io.StringIO()):  # Paddle lists the flags that `environment` has set
                distributed.init_parallel_env()
        return processes

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and talks."""
        return self.rank == 0

    @contextlib.contextmanager
    def loss_explained(self) -> Iterator[None]:
        """Within the block, the end of another process is an error for the user.

        Raises:
            MedvqaError: another process could not be reached.
        """
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not _LOST.search(str(error)):
                raise
            raise MedvqaError(
                f"process {self.rank + 1} of {self.count} has lost another one and ends, too",
                remedy="the same command goes on from the last saved state, on as many devices as you like",
            ) from None

    @contextlib.contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """Let the first process through the block, then the others: they find what it left in the cache."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            distributed.barrier()

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """The sums of everyone's numbers."""
        if self.count == 1 or not numbers:
            return list(numbers)
        total = paddle.to_tensor(list(numbers), dtype="float32")
        distributed.all_reduce(total)
        return [float(each) for each in total.numpy()]

    def own(self, items: Iterable[Item]) -> Iterator[Item]:
        """This process's part of `items`: together the processes have all."""
        return islice(items, self.rank, None, self.count)

    def share(self, batch: Batch, groups: int) -> Iterator[Shard]:
        """This process's share of each group of `batch`."""
        for group_places in np.array_split(np.arange(len(batch.images)), groups):
            if not len(group_places):
                continue
            group = batch.part(group_places)
            everyone = np.arange(len(group_places))
            if self.count == 1 or len(everyone) < self.count:  # too few for all: each does all of them
                yield Shard(batch, group, group, group_places, everyone, (), 1 / self.count)
                continue
            places = np.array_split(everyone, self.count)
            own = places[self.rank]
            yield Shard(batch, group, group.part(own), group_places, own, tuple(map(len, places)), 1.0)

    def total(self, tensors: Sequence[Tensor]) -> None:
        """Make of each of `tensors` the sum of everyone's, in place."""
        if self.count == 1:
            return
        for group in buckets(tensors):
            flat = flatten(group)
            distributed.all_reduce(flat)
            for tensor, value in zip(group, unflatten(flat, group), strict=True):
                tensor.copy_(value, True)

    def spread(self, tensors: Sequence[Tensor], owner: int) -> None:
        """Give everyone the values that `tensors` have at process `owner`, in place."""
        if self.count == 1:
            return
        for group in buckets(tensors):
            flat = flatten(group)
            distributed.broadcast(flat, src=owner)
            if self.rank != owner:
                for tensor, value in zip(group, unflatten(flat, group), strict=True):
                    tensor.copy_(value, True)


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """`tensors` in groups that may be sent at once."""
    group: list[Tensor] = []
    for tensor in tensors:
        if group and sum(each.size for each in group) + tensor.size > _AT_ONCE:
            yield group
            group = []
        group.append(tensor)
    if group:
        yield group


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of `tensors` in one row, in float32."""
    return paddle.concat([tensor.detach().astype("float32").flatten() for tensor in tensors])


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The row `flat` cut into tensors of the shapes of `like`."""
    parts = paddle.split(flat, [tensor.size for tensor in like]) if len(like) > 1 else [flat]
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, like, strict=True)]
