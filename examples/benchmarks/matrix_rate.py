"""The rate of matrix products that `medvqa doctor` prints, against plain `import paddle` with as many threads.

    python examples/benchmarks/matrix_rate.py

Processes take turns, three times each; the best of each counts.
"""

import json
import os
import subprocess
import sys

ROUNDS = 3
PLAIN = """
import time, paddle
square = paddle.rand([2048, 2048])
best = float("inf")
for _ in range(6):
    started = time.perf_counter()
    paddle.matmul(square, square)
    best = min(best, time.perf_counter() - started)
print(2 * 2048**3 / best / 1e9)
"""


def run(*command: str) -> str:
    threads = str(len(os.sched_getaffinity(0)))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MKL_", "FLAGS_"))}
    environment |= {"OMP_NUM_THREADS": threads, "CUSTOM_DEVICE_ROOT": ""}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.splitlines()[-1]


plain, ours = 0.0, 0.0
for _ in range(ROUNDS):
    plain = max(plain, float(run("-c", PLAIN)))
    ours = max(ours, json.loads(run("-m", "imageclef_vqa.doctor.probe", "compute", "cpu"))["gflops"])
print(json.dumps({"plain_gflops": round(plain, 1), "doctor_gflops": ours, "ratio": round(ours / plain, 2)}))
