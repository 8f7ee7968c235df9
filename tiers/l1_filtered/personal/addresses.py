"""E-mail, IP and MAC addresses. Those that standards set aside for examples are left out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tiers.l1_filtered.personal.finding import WORD, Finding, Kind

_LOCAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"
_LONGEST_LOCAL = 64
_LETTER = re.compile(f"[{WORD}]")
_LABEL = f"(?!_)[{WORD}][{WORD}-]{{0,62}}"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL}){{1,8}}")
_TOP = re.compile(r"[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59}", re.IGNORECASE)
# What follows the @ in file names such as logo@2x.png.
_FILES = frozenset(
    "avif bmp css gif htm html ico jpeg jpg js json less map md pdf png py scss svg tif tiff ts txt webp".split()
)
_EXAMPLES = re.compile(
    r"(?:.*\.)?(?:example\.(?:com|net|org)|(?:example|test|invalid|localhost)|domain\.tld)", re.IGNORECASE
)  # RFC 2606, sections 2 and 3; and a name that stands for any.
_AT = re.compile(r"[\[({] ?(?:at|AT|At|@|ät) ?[\])}] ?")
_SPELT = re.compile(rf"{_LABEL}(?:(?:\.| ?[\[({{] ?(?:dot|DOT|Dot|punkt|point|\.) ?[\])}}] ?){_LABEL}){{1,8}}")
_DOT = re.compile(r" ?[\[({] ?(?:dot|punkt|point|\.) ?[\])}] ?", re.IGNORECASE)


def emails(text: str) -> Iterator[Finding]:
    """E-mail addresses (RFC 5321, section 4.1.2, as they are used), also as `name (at) host (dot) org`."""
    at = text.find("@")
    while at >= 0:
        start, domain = _local_start(text, at), _DOMAIN.match(text, at + 1)
        if domain and start < at and text[start:at] not in ("git", "hg"):
            end = _domain_end(text, domain)
            if end:
                yield Finding(start, end, Kind.EMAIL, "email")
        at = text.find("@", at + 1)
    for spelt in _AT.finditer(text) if "at" in text or "AT" in text or "[@" in text or "(@" in text else ():
        before = spelt.start() - (text[spelt.start() - 1 : spelt.start()] == " ")
        start, domain = _local_start(text, before), _SPELT.match(text, spelt.end())
        if domain and start < before:
            name = _DOT.sub(".", domain.group())
            if _is_personal(name):
                yield Finding(start, domain.end(), Kind.EMAIL, "spelt")


def _local_start(text: str, at: int) -> int:
    """Where the part before the @ begins; `at` itself if there is none, or one that is too long."""
    head = text[max(0, at - _LONGEST_LOCAL - 1) : at]
    start = at - len(head) + len(head.rstrip(_LOCAL))
    while start and at - start <= _LONGEST_LOCAL and _LETTER.match(text, start - 1):
        start -= 1
    while start < at and text[start] in "._%+-":
        start += 1
    return start if at - start <= _LONGEST_LOCAL and text[at - 1 : at] != "." else at


def _domain_end(text: str, domain: re.Match[str]) -> int:
    """Where a domain ends that a person can be written to at; 0 if it's none, or set aside for examples."""
    name = domain.group().rstrip("-_")
    while "." in name and not _TOP.fullmatch(name.rpartition(".")[2]):
        name = name.rpartition(".")[0]
    return domain.start() + len(name) if _is_personal(name) else 0


def _is_personal(name: str) -> bool:
    top = name.rpartition(".")[2].lower()
    return "." in name and top not in _FILES and bool(_TOP.fullmatch(top)) and not _EXAMPLES.fullmatch(name)


_IPV4 = re.compile(rf"[0-9](?<![{WORD}.+/=<>~^§-][0-9])[0-9]{{0,2}}(?:\.[0-9]{{1,3}}){{3}}(?![{WORD}-]|\.[{WORD}-])")
_IPV4_AFTER_SIGN = re.compile(
    r"[0-9](?<=[/=][0-9])(?<!(?:[\w)]/|[=<>~!]=)[0-9])[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[\w-])"
)
_IPV6 = re.compile(r"[23](?<![\w:.-][23])[0-9a-fA-F]{3}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])")
_VERSION = re.compile(
    r"(?:\bv|\b(?:versions?|releases?|build|firmware|revision|rev|ver|sdk|section|chapter|rfc|kapitel|abschnitt|"
    r"версия)\b|版本)[^\n]{0,12}$",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\b(?:ip|ips|ipv4|addr|address(?:es)?|adress[en]*|adresse|dirección|host|hosts|server|dns|ping|gateway|router|"
    r"nameserver|client|peer|адрес)\b|地址",
    re.IGNORECASE,
)
_SMALL = 32


def ip_addresses(text: str) -> Iterator[Finding]:
    """Global unicast addresses of IPv4 and IPv6: no private, reserved and documentation ones (IANA's registries).

    Four small numbers are more often a version or a section; they count where a word such as "address" is near.
    """
    if text.count(".") >= 3:
        for pattern in (_IPV4, _IPV4_AFTER_SIGN):
            for match in pattern.finditer(text):
                if _is_public(match.group()) and not _is_version(text, match):
                    yield Finding(*match.span(), Kind.IP, "ipv4")
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            if _is_public(match.group()):
                yield Finding(*match.span(), Kind.IP, "ipv6")


def _is_public(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast


def _is_version(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 40) : match.start()].rpartition("\n")[2]
    if _VERSION.search(before):
        return True
    small = all(int(part) < _SMALL for part in match.group().split("."))
    return small and not _ADDRESS.search(before)


_MAC = re.compile(r"[0-9a-fA-F](?<![\w:-][0-9a-fA-F])[0-9a-fA-F]([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}(?![\w:-])")


def mac_addresses(text: str) -> Iterator[Finding]:
    """Six bytes in hexadecimal with one separator between them, neither all zeros nor all ones (IEEE 802)."""
    for match in _MAC.finditer(text) if text.count(":") >= 5 or text.count("-") >= 5 else ():
        if len(set(match.group().lower()) - {match[1]}) > 1 and not match.group().lower().startswith("00:00:5e:00:53"):
            yield Finding(*match.span(), Kind.MAC, "mac")
