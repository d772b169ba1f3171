"""Images that must not be parted: near-duplicate pictures, and frames of one examination.

Two kinds of evidence link a pair. *Picture*: perceptual hashes of the middle are close, and then the textures agree
under some shift. *Text*: both carry the same line of burnt-in text, and few others do, so that it is a date, not the
processor's mask. Links become groups, the strongest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imageclef_vqa.data.images import LEFT_LINES, PATCH, RIGHT_LINES

# Among all 114,960 pairs of 480 real images, different scenes reach a similarity of 0.55 at most, 0.47 where their
# hashes are near; one frame stored twice, a second apart, has 0.99.
SAME_PICTURE = 0.6
_HASH_REACH = 16  # bits of 64 within which a pair is looked at: one in 50 real pairs
_CERTAIN = 0.9  # a picture so similar is never parted, however large its group grows
_BLOCK = 1024

_LINE = 8  # height of a line of burnt-in text with its gap, pixels
_STEP = 2
_STROKE = 30  # brightness of a stroke over what surrounds it
_STROKES = (85, 300)  # lit pixels of a line that may be a date: fewer are a short word, more are highlights
_ALIKE = 0.6  # lines correlated like this stand in one place and font
_ENOUGH_ALIKE = 4  # so many must, before what they have in common is known
_OWN = 0.25  # share of a line's norm that must be its own: below, it is the mask and noise
# Read by eye on 480 real images: of 39 pairs that show one date, 18 lie above this, and most others join them through a
# third; of 42 pairs above it, the rest differ in a digit or share a counter. Those make groups coarser, never leaky.
_SAME_TEXT = 0.65


@dataclass(frozen=True)
class Link:
    """A reason to keep two images together; images are known by their place in the index."""

    one: int
    other: int
    similarity: float
    by: str  # "picture" or "text"


def hash_candidates(rows: np.ndarray, reach: int = _HASH_REACH) -> np.ndarray:
    """Pairs [n, 2] of images whose perceptual hashes differ in at most `reach` bits, or whose bytes are the same."""
    bits = rows["hash"].astype(np.float32)
    pairs = []
    for start in range(0, len(rows), _BLOCK):
        block = bits[start : start + _BLOCK]
        distance = block @ (1 - bits).T + (1 - block) @ bits.T
        same = rows["sha256"][start : start + _BLOCK, None] == rows["sha256"][None]
        near = np.argwhere((distance <= reach) | same) + np.array([start, 0])
        pairs.append(near[near[:, 0] < near[:, 1]])
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)


def picture_similarity(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Correlation [n] of the textures of `pairs`, at the shift where it is highest; 1 for identical bytes."""
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
    """The pairs that show the same picture."""
    return [
        Link(int(one), int(other), float(value), "picture")
        for (one, other), value in zip(pairs, similarity, strict=True)
        if value >= SAME_PICTURE
    ]


def text_links(rows: np.ndarray) -> list[Link]:
    """Pairs that carry the same line of text where images of the same layout carry others."""
    strokes = np.minimum(rows["text"], 80).astype(np.float32)
    lit = (strokes > _STROKE).sum(2)
    best: dict[tuple[int, int], float] = {}
    for first, height in ((0, LEFT_LINES), (LEFT_LINES, RIGHT_LINES)):
        for top in range(first, first + height - _LINE + 1, _STEP):
            count = lit[:, top : top + _LINE].sum(1)
            images = np.flatnonzero((count >= _STROKES[0]) & (count <= _STROKES[1]))
            if len(images) < _ENOUGH_ALIKE:
                continue
            lines = strokes[images, top : top + _LINE].reshape(len(images), -1)
            for one, other, value in _agreements(lines):
                pair = (int(images[one]), int(images[other]))
                best[pair] = max(best.get(pair, 0.0), value)
    return [Link(*pair, round(value, 4), "text") for pair, value in sorted(best.items())]


def _agreements(lines: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of `lines` [m, pixels] that agree in what sets them apart from the lines like them."""
    lines = _unit(lines - lines.mean(1, keepdims=True))
    own, alike = np.empty_like(lines), np.empty(len(lines))
    for start in range(0, len(lines), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = (lines[block] @ lines.T > _ALIKE).astype(np.float32)
        alike[block] = near.sum(1)
        own[block] = lines[block] - near @ lines / near.sum(1, keepdims=True)
    telling = np.flatnonzero((alike >= _ENOUGH_ALIKE) & (np.linalg.norm(own, axis=1) > _OWN))
    lines, own = lines[telling], _unit(own[telling])
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(own), _BLOCK):
        one, other = np.nonzero((agreement := own[start : start + _BLOCK] @ own.T) > _SAME_TEXT)
        value, one = agreement[one, other], one + start
        same = (one < other) & ((lines[one] * lines[other]).sum(1) > _ALIKE)
        found += zip(telling[one[same]].tolist(), telling[other[same]].tolist(), value[same].tolist(), strict=True)
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6)


def join(links: Sequence[Link], count: int) -> np.ndarray:
    """Group of each of `count` images, numbered in the order of their first image.

    Groups are what links connect, with one reserve against chains of chance resemblances that would swallow the data
    set: links are taken from the strongest to the weakest, and one that is not certain does not make a group larger
    than a twentieth of the images (or 20, if that is more). The certificate counts what is parted by this.
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
