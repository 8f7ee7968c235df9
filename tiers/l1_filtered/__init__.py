"""L1, filtered: URLs, form of texts, boilerplate, language, quality, personal data, duplicates, decontamination."""

from tiers.l1_filtered.boilerplate import Boilerplate
from tiers.l1_filtered.datatrove_block import DatatroveBlock
from tiers.l1_filtered.decontamination import Decontaminate
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
    Boilerplate,
    Language,
    QualityRules,
    PersonalData,
    ExactDuplicates,
    NearDuplicates,
    Decontaminate,
    DatatroveBlock,
)
"""The stages of this tier, in the order that recipes normally use; the last runs blocks of datatrove anywhere."""
