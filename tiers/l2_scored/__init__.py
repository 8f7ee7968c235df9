"""L2: documents that a language model finds worth learning from. A sample is judged, the judge is distilled into a
cheap scorer, or one is trained on pools of good and bad texts, and the best of what it scores are kept; no text is changed.
"""

from tiers.l2_scored.annotate import Annotate
from tiers.l2_scored.classify import Classify, classify_report
from tiers.l2_scored.distil import Distil, distil_report
from tiers.l2_scored.embed import Embedding
from tiers.l2_scored.rubric import AnswerRubric, ChannelRubric, Rubric, load_rubric, rubric_names
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
    "classify_report",
    "distil_report",
    "load_rubric",
    "rubric_names",
]
