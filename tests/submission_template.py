"""A script of the shape of the organisers' template, written for these tests: what a submission fills in."""

TEMPLATE = """\
from transformers import AutoProcessor
from datasets import load_dataset, Image as Picture
from itertools import batched
import json
import torch
from evaluate import load

metrics = {name: load(name) for name in ("bleu", "rouge", "meteor")}
ds = load_dataset("SimulaMet/Kvasir-VQA-x1")["test"]
ds_shuffled = ds.shuffle(seed=42)
chosen = ds_shuffled.select(range(1500))
chosen = chosen.cast_column("image", Picture())
gpu_name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
predictions = []
# ---- EDIT SECTION 1: DETAILS AND MODEL ----
SUBMISSION_INFO = {"Team_Name": "yours"}
BATCH_SIZE = 8
# ---- END OF DETAILS and MODEL LOADING ----
for batch in batched(enumerate(chosen), BATCH_SIZE):
    numbers, exs = zip(*batch)
    # ____ EDIT SECTION 2: ANSWERS ____
    answers = ["" for each in exs]
    # ____ END OF ANSWER GENERATION ____
    assert all(isinstance(each, str) for each in answers)
    predictions += [
        {"index": number, "img_id": row["img_id"], "question": row["question"], "answer": answer.strip()}
        for number, row, answer in zip(numbers, exs, answers)
    ]
given, gold = [each["answer"] for each in predictions], [[each] for each in chosen["answer"]]
found = {name: metric.compute(predictions=given, references=gold) for name, metric in metrics.items()}
scores = {"bleu": found["bleu"]["bleu"], "meteor": found["meteor"]["meteor"], **found["rouge"]}
content = {"submission_info": SUBMISSION_INFO, "public_scores": scores, "predictions": predictions, "total_time": 1.0}
content |= {"time_per_item": 0.1, "memory_used_mb": 0, "model_memory_mb": 0, "gpu_name": gpu_name, "debug": {}}
with open("predictions_1.json", "w") as file:
    json.dump(content, file)
"""
