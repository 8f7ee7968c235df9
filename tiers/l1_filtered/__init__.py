"""L1, filtered: URLs, language, quality rules, exact and near duplicates, repeated parts, decontamination."""

from tiers.l1_filtered.datatrove_block import DatatroveBlock
from tiers.l1_filtered.decontamination import Decontaminate
from tiers.l1_filtered.duplicate_parts import DuplicateLines, DuplicateParagraphs
from tiers.l1_filtered.exact_duplicates import ExactDuplicates
from tiers.l1_filtered.language import Language
from tiers.l1_filtered.near_duplicates import NearDuplicates
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.l1_filtered.url_filter import UrlFilter
from tiers.stage import Stage

STAGES: tuple[type[Stage], ...] = (
    UrlFilter,
    Language,
    QualityRules,
    ExactDuplicates,
    NearDuplicates,
    DuplicateParagraphs,
    DuplicateLines,
    Decontaminate,
    DatatroveBlock,
)
"""The stages of this tier, in the order that recipes normally use; the last runs blocks of datatrove anywhere."""
