"""L3, edited: a language model names what to change in a document and a guarded executor changes it, or writes anew."""

from __future__ import annotations

from tiers.l3_edited.editor import Edit
from tiers.l3_edited.program_editor import EditByProgram
from tiers.l3_edited.synthesis.checkable_tasks import CheckableTasks
from tiers.l3_edited.synthesis.preference_pairs import PreferencePairs
from tiers.l3_edited.synthesis.synthesise import Synthesise
from tiers.stage import Stage

STAGES: tuple[type[Stage], ...] = (Edit, EditByProgram, Synthesise, PreferencePairs, CheckableTasks)
