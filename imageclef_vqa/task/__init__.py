"""What the competition says: its questions, how answers compare, the records of its files."""

from imageclef_vqa.task.answers import as_set, join_answers, same_answer, split_answers
from imageclef_vqa.task.implications import Implication, contradictions, learn_implications
from imageclef_vqa.task.predictions import read_predictions, write_predictions
from imageclef_vqa.task.profiles import GI_2023, GI_2025, PROFILES, Profile
from imageclef_vqa.task.questions import (
    NOT_RELEVANT,
    QUESTIONS,
    SEGMENTATION_TYPE,
    Kind,
    Question,
    choose_question,
    find_question,
)
from imageclef_vqa.task.records import Candidate, GtRecord, Label, Prediction, SubmittedAnswer
from imageclef_vqa.task.vocabulary import QuestionVocabulary, Vocabulary, learn_vocabulary

__all__ = [
    "GI_2023",
    "GI_2025",
    "NOT_RELEVANT",
    "PROFILES",
    "QUESTIONS",
    "SEGMENTATION_TYPE",
    "Candidate",
    "GtRecord",
    "Implication",
    "Kind",
    "Label",
    "Prediction",
    "Profile",
    "Question",
    "QuestionVocabulary",
    "SubmittedAnswer",
    "Vocabulary",
    "as_set",
    "choose_question",
    "contradictions",
    "find_question",
    "join_answers",
    "learn_implications",
    "learn_vocabulary",
    "read_predictions",
    "same_answer",
    "split_answers",
    "write_predictions",
]
