"""Batches of images with their questions, bounded by images and by pairs: an image may have 60 open questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def bounded_batches(
    order: Iterable[int], pairs: Sequence[int], *, images: int, most: int
) -> Iterator[list[tuple[int, slice]]]:
    """Batches of at most `images` images with `most` pairs: each image with the slice of its pairs, in `order`.

    The pairs of an image stay in one batch, so that it is encoded once, unless it has more than `most`.

    Args:
        order: images by index.
        pairs: the number of pairs of each image; images without any are left out.
    """
    batch: list[tuple[int, slice]] = []
    room = most
    for image in order:
        for start in range(0, pairs[image], most):
            part = slice(start, min(start + most, pairs[image]))
            size = part.stop - part.start
            if batch and (size > room or len(batch) == images):
                yield batch
                batch, room = [], most
            batch.append((image, part))
            room -= size
    if batch:
        yield batch
