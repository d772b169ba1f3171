"""Images that belong on the same side of a split: near-duplicates, and frames of one examination.

Two kinds of evidence link a pair of images. *Picture*: the perceptual hashes of their centres are close, and their
textures correlate under some shift. *Text*: both show the same line of burnt-in text and few others do, so it is a
date and not part of the processor's mask. Links become groups, the strongest first.

The functions work on rows of the image index (`images.ROW`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from imageclef_vqa.data.images import LEFT_LINES, PATCH, RIGHT_LINES

# Among all 114,960 pairs of 480 real images, different scenes reach a similarity of 0.55 at most, and 0.47 if their
# hashes are close; two copies of a frame, a second apart, have 0.99.
SAME_PICTURE = 0.6
_HASH_DISTANCE = 16  # of 64 bits; only closer pairs are compared, one in 50 real pairs
_CERTAIN = 0.9  # pairs of this similarity are always grouped, however large the group
_BLOCK = 1024  # images or pairs at a time

_LINE = 8  # height of a line of burnt-in text with its gap, pixels
_STEP = 2
_STROKE = 30  # brightness of a stroke above its surroundings
_STROKES = (85, 300)  # bright pixels of a line that may be a date: short words have fewer, highlights more
_SIMILAR = 0.6  # lines with this correlation have the same layout and font
_ENOUGH_SIMILAR = 4  # similar lines that are needed to know what they have in common
_OWN = 0.25  # norm of what a line does not share with similar lines, relative to the line; below it is noise
# Read by eye on 480 real images: of 39 pairs that show the same date, 18 are above this, and most others are linked
# through a third image. Of 42 pairs above it, the rest differ in a digit or share a counter: they make groups larger
# than necessary, but cause no leak.
_SAME_TEXT = 0.65


@dataclass(frozen=True)
class Link:
    """Evidence that two images belong together. `one` < `other` are rows of the index."""

    one: int
    other: int
    similarity: float
    by: Literal["picture", "text"]


def hash_candidates(rows: np.ndarray, first: int | None = None) -> np.ndarray:
    """Pairs [n, 2] of rows, the lower first, with close perceptual hashes or identical bytes.

    With `first`, only pairs whose lower row is one of the first ones.
    """
    bits, end = rows["hash"].astype(np.float32), len(rows) if first is None else first
    pairs = []
    for start in range(0, end, _BLOCK):
        own = slice(start, min(start + _BLOCK, end))
        distance = bits[own] @ (1 - bits).T + (1 - bits[own]) @ bits.T
        same = rows["sha256"][own, None] == rows["sha256"][None]
        close = np.argwhere((distance <= _HASH_DISTANCE) | same) + np.array([start, 0])
        pairs.append(close[close[:, 0] < close[:, 1]])
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)


def picture_similarity(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Correlation [n] of the textures of `pairs` at the best shift, from 0 to 1; 1 for identical bytes."""
    window = np.hanning(PATCH).astype(np.float32)
    patches = rows["patch"].astype(np.float32) * np.outer(window, window)
    patches -= patches.mean((1, 2), keepdims=True)
    patches /= np.linalg.norm(patches, axis=(1, 2), keepdims=True) + 1e-6
    spectra = np.fft.rfft2(patches)
    similarity = np.empty(len(pairs))
    for start in range(0, len(pairs), _BLOCK):
        one, other = pairs[start : start + _BLOCK].T
        shifts = np.fft.irfft2(spectra[one].conj() * spectra[other], s=(PATCH, PATCH))
        similarity[start : start + _BLOCK] = shifts.max((1, 2))
    same = rows["sha256"][pairs[:, 0]] == rows["sha256"][pairs[:, 1]]
    return np.where(same, 1.0, similarity.clip(0, 1).round(4))


def picture_links(pairs: np.ndarray, similarity: np.ndarray) -> list[Link]:
    """Links between the pairs that show the same picture."""
    return [
        Link(int(one), int(other), float(value), "picture")
        for (one, other), value in zip(pairs, similarity, strict=True)
        if value >= SAME_PICTURE
    ]


def text_links(rows: np.ndarray) -> list[Link]:
    """Links between images with the same line of text, where images of the same layout have other lines."""
    strokes = np.minimum(rows["text"], 80).astype(np.float32)
    lit = (strokes > _STROKE).sum(2)
    best: dict[tuple[int, int], float] = {}
    for first, height in ((0, LEFT_LINES), (LEFT_LINES, RIGHT_LINES)):
        for top in range(first, first + height - _LINE + 1, _STEP):
            count = lit[:, top : top + _LINE].sum(1)
            images = np.flatnonzero((count >= _STROKES[0]) & (count <= _STROKES[1]))
            if len(images) < _ENOUGH_SIMILAR:
                continue
            lines = strokes[images, top : top + _LINE].reshape(len(images), -1)
            for one, other, value in _agreements(lines):
                pair = (int(images[one]), int(images[other]))
                best[pair] = max(best.get(pair, 0.0), value)
    return [Link(*pair, round(value, 4), "text") for pair, value in sorted(best.items())]


def _agreements(lines: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of `lines` [m, pixels], with their similarity, that differ alike from the lines similar to them."""
    lines = _unit(lines - lines.mean(1, keepdims=True))
    own, similar = np.empty_like(lines), np.empty(len(lines))
    for start in range(0, len(lines), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = (lines[block] @ lines.T > _SIMILAR).astype(np.float32)
        similar[block] = near.sum(1)
        own[block] = lines[block] - near @ lines / near.sum(1, keepdims=True)
    distinct = np.flatnonzero((similar >= _ENOUGH_SIMILAR) & (np.linalg.norm(own, axis=1) > _OWN))
    lines, own = lines[distinct], _unit(own[distinct])
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(own), _BLOCK):
        one, other = np.nonzero((agreement := own[start : start + _BLOCK] @ own.T) > _SAME_TEXT)
        value, one = agreement[one, other], one + start
        same = (one < other) & ((lines[one] * lines[other]).sum(1) > _SIMILAR)
        found += zip(distinct[one[same]].tolist(), distinct[other[same]].tolist(), value[same].tolist(), strict=True)
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6)


def group_images(links: Sequence[Link], count: int) -> np.ndarray:
    """The group [count] of each image; groups are numbered in the order of their first image.

    Linked images form a group, with one exception, so that a chain of chance similarities does not connect the whole
    data set: links are taken from the strongest to the weakest, and an uncertain link does not make a group larger
    than a twentieth of the images (or 20, if that is more). The certificate of a split counts the links that this
    breaks.
    """
    limit = max(20, count // 20)
    parent, size = list(range(count)), [1] * count

    def root(image: int) -> int:
        while parent[image] != image:
            parent[image] = parent[parent[image]]
            image = parent[image]
        return image

    for link in sorted(links, key=lambda link: (-link.similarity, link.one, link.other)):
        one, other = sorted((root(link.one), root(link.other)))
        certain = link.by == "picture" and link.similarity >= _CERTAIN
        if one != other and (certain or size[one] + size[other] <= limit):
            parent[other] = one
            size[one] += size[other]
    return np.unique([root(image) for image in range(count)], return_inverse=True)[1]
