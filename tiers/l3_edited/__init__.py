"""L3, edited: a language model names what to change in a document, and a guarded executor changes it."""

from __future__ import annotations

from tiers.l3_edited.editor import Edit
from tiers.l3_edited.program_editor import EditByProgram
from tiers.stage import Stage

STAGES: tuple[type[Stage], ...] = (Edit, EditByProgram)
