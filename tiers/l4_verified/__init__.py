"""L4, verified: documents become evidence with exact sources, and claims that are checked against it."""

from __future__ import annotations

from tiers.l4_verified.checks import Check
from tiers.l4_verified.claims import Claims
from tiers.l4_verified.evidence import Evidence
from tiers.stage import Stage

STAGES: tuple[type[Stage], ...] = (Evidence, Claims, Check)
