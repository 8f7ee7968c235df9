"""Keys, tokens and passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiers.l1_filtered.personal.finding import Finding, Kind

_BORDER = "(?<![A-Za-z0-9])"
# A literal that a text must hold, and the form that its issuer documents.
_ISSUED: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    ("aws_access_key", ("AKIA", "ASIA"), re.compile(_BORDER + r"A[KS]IA[A-Z2-7]{16}(?![A-Za-z0-9])")),
    ("github_token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), re.compile(_BORDER + r"gh[pousr]_[A-Za-z0-9]{36,255}")),
    ("github_token", ("github_pat_",), re.compile(_BORDER + r"github_pat_[A-Za-z0-9_]{36,255}")),
    ("gitlab_token", ("glpat-",), re.compile(_BORDER + r"glpat-[A-Za-z0-9_-]{20,64}")),
    ("google_api_key", ("AIza",), re.compile(_BORDER + r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])")),
    ("google_oauth_token", ("ya29.",), re.compile(_BORDER + r"ya29\.[A-Za-z0-9_-]{20,500}")),
    ("slack_token", ("xox",), re.compile(_BORDER + r"xox[abeoprs]-[A-Za-z0-9-]{10,255}")),
    ("slack_webhook", ("hooks.slack.com",), re.compile(r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,100}")),
    ("stripe_key", ("_live_", "_test_"), re.compile(_BORDER + r"[prs]k_(?:live|test)_[A-Za-z0-9]{16,255}")),
    (
        "openai_key",
        ("sk-",),
        re.compile(_BORDER + r"sk-(?=[A-Za-z_-]{0,200}[0-9])(?=[a-z0-9_-]{0,200}[A-Z])[A-Za-z0-9_-]{20,255}"),
    ),
    ("hugging_face_token", ("hf_",), re.compile(_BORDER + r"hf_[A-Za-z0-9]{34}(?![A-Za-z0-9])")),
    ("npm_token", ("npm_",), re.compile(_BORDER + r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])")),
    ("sendgrid_key", ("SG.",), re.compile(_BORDER + r"SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}")),
    # JSON in base64 begins with eyJ (RFC 7519).
    ("jwt", ("eyJ",), re.compile(r"(?<![\w-])eyJ[\w-]{8,4000}\.eyJ[\w-]{8,8000}\.[\w-]{10,1000}")),
    (
        "private_key",  # RFC 7468; line breaks may be escaped
        ("PRIVATE KEY-----",),
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY-----(?:(?:\s|\\[nr]){1,9}[A-Za-z-]{4,12}: [^\n]{1,100})*"
            r"(?:(?:\s|\\[nr]){1,9}[A-Za-z0-9+/=]{16,})+(?:(?:\s|\\[nr]){1,9}[A-Za-z0-9+/=]{1,15})?"
            r"(?:(?:\s|\\[nr]){0,9}-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY-----)?"
        ),
    ),
    ("url_password", ("://",), re.compile(r"(?<=://)[^\s/:@]{0,64}:(?P<value>[^\s/:@]{3,128})@(?=[\w.-])")),
)
_NAMES = ("password", "passwd", "pwd", "passphrase", "secret", "api_key", "apikey", "api-key", "access_key", "token")
_VALUE = re.compile(
    r"""[0-9A-Za-z_-]{0,24}["']?[ \t]{0,3}(?P<sign>=>|:=|[:=])[ \t]{0,3}"""
    r"""(?:(?P<quote>["'])(?P<quoted>[^\s"'`<>]{8,128})(?P=quote)|(?P<bare>[^\s"'`<>,;&(){}\[\]$]{8,128})(?=[\s<,;&}\])]|$))"""
)
_EXAMPLE = re.compile("example|your|x{6}|^(?:pass|passw(?:or)?d|pwd|secret|key|token)$", re.IGNORECASE)
_STANDS_FOR_ANY = re.compile(
    r"example|your|xxx|\*\*\*|\.\.\.|change|placeholder|dummy|sample|redacted|insert|foo|123456|[%({]", re.IGNORECASE
)


def credentials(text: str) -> Iterator[Finding]:
    """Keys and tokens in the forms of their issuers, private keys, passwords in URLs, and values of `password = …`.

    What documentation shows in their place, such as AWS's keys that end in EXAMPLE, is left out.
    """
    for form, literals, pattern in _ISSUED:
        if any(literal in text for literal in literals):
            for match in pattern.finditer(text):
                group = "value" if "value" in pattern.groupindex else 0
                if form == "private_key" or not _EXAMPLE.search(match[group]):
                    yield Finding(*match.span(group), Kind.SECRET, form)
    yield from _assigned(text)


def _assigned(text: str) -> Iterator[Finding]:
    lower = text.lower()
    if len(lower) != len(text):
        lower = text
    for name in _NAMES:
        at = lower.find(name)
        while at >= 0:
            end = at + len(name)
            match = _VALUE.match(text, end)
            if match:
                group = "quoted" if match["quote"] else "bare"
                if _is_random(match[group], exposed=match["sign"] != ":" or group == "quoted"):
                    yield Finding(*match.span(group), Kind.SECRET, "assigned")
            at = lower.find(name, end)


def _is_random(value: str, exposed: bool) -> bool:
    """Whether a value is no word: it has three kinds of characters, or letters and digits where no prose goes on."""
    if _STANDS_FOR_ANY.search(value) or "://" in value:
        return False
    kinds = (str.islower, str.isupper, str.isdigit, lambda c: not c.isalnum() and c not in "_-./:")
    present = [any(map(kind, value)) for kind in kinds]
    return sum(present) >= 3 or (exposed and present[2] and (present[0] or present[1]))
