"""A small set of labels like those of the data, and a valid run for other images of the same kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imageclef_vqa.editions import QUESTIONS

EVERYWHERE = QUESTIONS[10].known[:9]
Image = dict[int, tuple[str, ...]]


def image_id(number: int) -> str:
    return f"cl8k2u1pm1dw7083203{number:06d}"


def answers(number: int) -> Image:
    """The answers of image `number`: polyp, colitis and oesophagitis take turns, and every question varies."""
    kind, varied = number % 3, number // 3
    image: Image = {question.id: (question.known[0],) for question in QUESTIONS}
    image[2] = (("Yes", "No")[varied % 2],)
    image[3] = (("No", "Yes")[varied % 3 == 0],)
    image[4] = (("Yes", "No")[varied % 4 == 0],)
    image[5] = (("Pink", "Red"), ("Pink", "Red", "White"), ("Red",))[(varied + kind) % 3]
    image[7] = (("1", "2")[varied % 5 == 0],)
    image[14] = ("No",) if varied % 2 else ("Biopsy forceps",)
    image[9] = ("0",) if varied % 2 else ("1",)
    image[11] = ("Not relevant",) if varied % 2 else (("Center", "Lower-left"), ("Upper-right",))[varied // 2 % 2]
    if kind == 0:
        image[1] = ("No",)
        image[8] = image[7]
        image[10] = EVERYWHERE[varied % 4 : varied % 4 + 2 + varied % 3]
        image[13] = ("No",)
        image[16] = (("5-10mm", "< 5mm", "11-20mm")[varied % 3],)
        image[17] = (("Paris is", "Paris iia")[varied % 2],)
    else:
        image[12] = (("Ulcerative colitis", "Oesophagitis")[kind - 1],)
        image[10] = EVERYWHERE if varied % 3 else EVERYWHERE[:7]
    if kind == 2:
        image[0] = ("Gastroscopy",)
        image[6] = (("Pink", "White"), ("Pink",))[varied % 2]
        image[13] = ("Z-line",)
        image[15] = (("Center", "Upper-left"), ("Center",))[varied // 2 % 2]
    return image


TRAINING = [answers(number) for number in range(150)]
TESTED = range(600, 660)
IDS = [image_id(number) for number in TESTED]


def layout() -> dict[str, list[dict[str, Any]]]:
    """A valid run in the organisers' layout; a new one for each call."""
    return {
        image_id(number): [
            {"QuestionID": question.id, "Question": question.text, "Answer": list(answers(number)[question.id])}
            for question in QUESTIONS
        ]
        for number in TESTED
    }


def write_knowledge(folder: Path) -> list[str]:
    """Write a `gt.json` and an id list into `folder`; the options of `medvqa check` that name them."""
    records = [
        {
            "ImageID": image_id(number),
            "Labels": [
                {"Question": q.text, "AnswerType": q.answer_type, "Answer": list(image[q.id])} for q in QUESTIONS
            ],
        }
        for number, image in enumerate(TRAINING)
    ]
    (folder / "gt.json").write_text(json.dumps(records), encoding="utf-8")
    (folder / "ids.txt").write_text("\n".join(IDS), encoding="utf-8")
    return ["--development", str(folder / "gt.json"), "--ids", str(folder / "ids.txt")]
