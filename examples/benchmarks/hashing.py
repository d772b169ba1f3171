"""CPU seconds that `package` and `predict` take to hash all that they trust, at full size.

    python examples/benchmarks/hashing.py             # 2,000 development and 1,938 test images, 7 GB of weights

Prints one JSON line. Pictures are one drawn picture each time with other bytes after its end. The first reading decodes
them for the image index; every later one hashes them. The weights are a sparse file, which is read from no disk.
"""

from __future__ import annotations

import json
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from imageclef_vqa.data import read_pictures
from imageclef_vqa.inputs import sha256

DEVELOPMENT, TEST, WEIGHTS = 2000, 1938, 7 * 10**9


def picture() -> bytes:
    """A JPEG of 720 × 576 pixels that is about as large as the real ones: 60 to 70 KB."""
    noise = np.random.default_rng(0).integers(0, 256, (72, 90, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(noise).resize((720, 576), Image.Resampling.BICUBIC).save(content, "jpeg", quality=93)
    return content.getvalue()


def main() -> None:
    seconds, drawn = {}, picture()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, count in (("development", DEVELOPMENT), ("test", TEST)):
            (root / name).mkdir()
            for number in range(count):
                (root / name / f"{number:06}.jpg").write_bytes(drawn + str(number).encode())
        for reading in ("first reading of the images", "hashing the images"):
            started = time.process_time()
            for name in ("development", "test"):
                read_pictures(root / name, root / "ids", cache=root / "cache")
            seconds[reading] = time.process_time() - started
        weights = root / "model.safetensors"
        with weights.open("wb") as file:
            file.truncate(WEIGHTS)
        started = time.process_time()
        sha256(weights)
        seconds["hashing the weights"] = time.process_time() - started
    rounded = {name: round(value, 1) for name, value in seconds.items()}
    print(json.dumps({"kilobytes": round(len(drawn) / 1000), "gigabytes": WEIGHTS / 1e9, "cpu_seconds": rounded}))


if __name__ == "__main__":
    main()
