"""The editions of the challenge as data: questions, answers, how a run is written; and the records that files hold."""

from imageclef_vqa.editions.answers import as_set, join_answers, same_answer, split_answers
from imageclef_vqa.editions.edition import EDITIONS, GI_2023, GI_2025, MEDICO_2026, Edition, find_edition
from imageclef_vqa.editions.implications import Implication, contradictions, learn_implications
from imageclef_vqa.editions.lookup import PAPER_QUESTIONS, choose_question, find_question, question_that
from imageclef_vqa.editions.open_questions import OpenQuestion
from imageclef_vqa.editions.predictions import predictions_text, read_predictions, write_predictions
from imageclef_vqa.editions.questions import (
    NOT_RELEVANT,
    QUESTIONS,
    SEGMENTATION_IDS,
    SEGMENTATION_TYPE,
    Question,
)
from imageclef_vqa.editions.records import (
    Candidate,
    GtRecord,
    Label,
    Prediction,
    candidates_of,
    gt_record,
)
from imageclef_vqa.editions.vocabulary import QuestionVocabulary, Vocabulary, learn_vocabulary

__all__ = [
    "EDITIONS",
    "GI_2023",
    "GI_2025",
    "MEDICO_2026",
    "NOT_RELEVANT",
    "PAPER_QUESTIONS",
    "QUESTIONS",
    "SEGMENTATION_IDS",
    "SEGMENTATION_TYPE",
    "Candidate",
    "Edition",
    "GtRecord",
    "Implication",
    "Label",
    "OpenQuestion",
    "Prediction",
    "Question",
    "QuestionVocabulary",
    "Vocabulary",
    "as_set",
    "candidates_of",
    "choose_question",
    "contradictions",
    "find_edition",
    "find_question",
    "gt_record",
    "join_answers",
    "learn_implications",
    "learn_vocabulary",
    "predictions_text",
    "question_that",
    "read_predictions",
    "same_answer",
    "split_answers",
    "write_predictions",
]
