"""L2: documents that a language model finds worth learning from. A sample is judged and the judge distilled
into a cheap scorer, or one is trained on pools of good and bad texts; the best of what it scores are kept. No text is
changed.
"""

from tiers.l2_scored.annotate import Annotate
from tiers.l2_scored.classify import Classify
from tiers.l2_scored.distil import Distil
from tiers.l2_scored.embed import Embedding
from tiers.l2_scored.rubric import AnswerRubric, ChannelRubric, Rubric, load_rubric, rubric_names
from tiers.l2_scored.scorer import scorer_report
from tiers.l2_scored.select import Select
from tiers.stage import Stage

STAGES: tuple[type[Stage], ...] = (Annotate, Embedding, Distil, Classify, Select)

__all__ = [
    "STAGES",
    "Annotate",
    "AnswerRubric",
    "ChannelRubric",
    "Classify",
    "Distil",
    "Embedding",
    "Rubric",
    "Select",
    "load_rubric",
    "rubric_names",
    "scorer_report",
]
