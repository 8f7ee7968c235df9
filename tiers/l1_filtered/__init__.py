"""L1, filtered: URLs, form and boilerplate, language, quality, duplicates, decontamination, personal data."""

from tiers.l1_filtered.boilerplate import Boilerplate
from tiers.l1_filtered.datatrove_block import DatatroveBlock
from tiers.l1_filtered.decontamination import Decontaminate
from tiers.l1_filtered.duplicate_parts import DuplicateLines, DuplicateParagraphs
from tiers.l1_filtered.exact_duplicates import ExactDuplicates
from tiers.l1_filtered.language import Language
from tiers.l1_filtered.near_duplicates import NearDuplicates
from tiers.l1_filtered.normalise import Normalise
from tiers.l1_filtered.personal_data import PersonalData
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.l1_filtered.url_filter import UrlFilter
from tiers.stage import Stage

STAGES: tuple[type[Stage], ...] = (
    UrlFilter,
    Normalise,
    Language,
    Boilerplate,
    QualityRules,
    ExactDuplicates,
    NearDuplicates,
    DuplicateParagraphs,
    DuplicateLines,
    Decontaminate,
    PersonalData,
    DatatroveBlock,
)
"""The stages of this tier, in the order that recipes normally use; the last runs blocks of datatrove anywhere."""
