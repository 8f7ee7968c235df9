"""The forms of lines that belong to the page: notices, page numbers, times; and the phrases of `boilerplate.yaml`."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Reason(StrEnum):
    """What a line is, or why a document was dropped."""

    NAVIGATION = "boilerplate.navigation"
    BUTTONS = "boilerplate.buttons"
    PAGINATION = "boilerplate.pagination"
    READ_MORE = "boilerplate.read_more"
    SHARING = "boilerplate.sharing"
    ADVERTISING = "boilerplate.advertising"
    COOKIES = "boilerplate.cookies"
    COPYRIGHT = "boilerplate.copyright"
    BREADCRUMBS = "boilerplate.breadcrumbs"
    TIMESTAMP = "boilerplate.timestamp"
    LITTLE_LEFT = "boilerplate.little_left"


class Pattern(NamedTuple):
    """A form of lines.

    Attributes:
        rule: What such lines are.
        longest: Words that they have at most.
        clues: One of these stands in every text with such a line.
        pattern: What is looked for in a case-folded line.
    """

    rule: Reason
    longest: int
    clues: tuple[str, ...]
    pattern: re.Pattern[str]


@lru_cache(maxsize=1)
def phrase_data() -> dict[str, Any]:
    """Phrases by rule, language and sureness, and names."""
    content: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "boilerplate.yaml").read_text("utf-8"))
    return content


DATE_WORDS = frozenset(
    """jan january januar janvier jän jänner feb february februar févr février mar march märz mars marzo apr april avr
    avril abr abril may mai mayo jun june juni juin junio jul july juli juillet julio aug august août ago agosto sep
    sept september septembre septiembre oct october okt oktober octobre octubre nov november novembre noviembre dec
    december dez dezember déc décembre dic diciembre ene enero febrero января февраля марта апреля мая июня июля
    августа сентября октября ноября декабря mon monday tue tuesday wed wednesday thu thursday fri friday sat saturday
    sun sunday montag dienstag mittwoch donnerstag freitag samstag sonntag lundi mardi mercredi jeudi vendredi samedi
    dimanche lunes martes miércoles jueves viernes sábado domingo am pm a.m p.m a.m. p.m. et est edt pt pst pdt ct cst
    cdt gmt utc cet cest uhr at on um de le el à в г st nd rd th 年 月 日 時 分 时 点 t z""".split()
)
"""The words in a line that is nothing but a date or a time."""

DATE_TOKEN = re.compile(r"[0-9]{1,4}|[年月日時分时点]|[ap]\.m\.?|[^\W\d_]+|[^\w\s]")
# Without seconds, which lists don't give and logs do.
CLOCK = re.compile(
    r"(?<![0-9:.\[-])[0-2]?[0-9][:h][0-5][0-9](?![0-9:.])|"
    r"(?<![0-9:.])[0-9]{1,2}(?:[.:][0-9]{2})? ?(?:[ap]\.?m\b|uhr)|[0-9][時时点]"
)
YEAR = re.compile(r"(?<![0-9])(?:19|20)[0-9]{2}(?![0-9])")
_UNITS = (
    "s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?|d(?:ays?)?|w(?:eeks?)?|months?|y(?:ears?)?|sekunden?|"
    "minuten?|stunden?|tage?n?|wochen?|monate?n?|jahre?n?|secondes?|heures?|jours?|semaines?|mois|ans?|segundos?|"
    "minutos?|horas?|días?|semanas?|mes(?:es)?|años?|секунд[уы]?|минут[уы]?|час(?:а|ов)?|д(?:ень|ня|ней)|"
    "недел[юиь]|месяц(?:а|ев)?|год(?:а)?|лет"
)
_AGO = (
    rf"(?:about |over )?(?:[0-9]{{1,3}}|an?|one) ?(?:{_UNITS}) (?:ago|назад)|"
    rf"(?:vor|il y a|hace) (?:[0-9]{{1,3}}|einer|einem|une?|una?) (?:{_UNITS})|"
    r"[0-9]{1,3} ?(?:秒|分钟|分鐘|小时|小時|天|周|个月|年|分|時間|日|週間|か月)(?:前|以前)"
)
_POSTED = (
    "(?:first |originally )?(?:posted|published|updated|last (?:updated|modified|edited))"
    "(?: on| at)?|veröffentlicht|aktualisiert|zuletzt (?:aktualisiert|geändert)|publié|mis à jour|"
    "modifié|publicado|actualizado|опубликовано|обновлено|发布时间|发表于|发布于|发布日期|更新时间|更新日|公開日|投稿日|"
    "最終更新日?"
)
POSTED = re.compile(rf"\W{{0,4}}(?:{_POSTED})(?![^\W\d_]) ?[:：]?")
_READING_TIME = "min(?:ute)?s? read|min\\. lesezeit|minuten lesezeit|min de lecture"

_EARLIER = "previous|prev|zurück|précédent|anterior|назад|上一页|前へ|«|‹|<|←|pages?:?|seiten?:?|страницы:?"
_LATER = "next|last|weiter|suivant|siguiente|далее|下一页|次へ|»|›|>|→|…|\\.\\.\\."
_OF = "(?:of|von|sur|de|из)"
_PAGES = (
    rf"^\W{{0,3}}(?:pages?|seite|página|pagina|страница|стр\.) ?[0-9]{{1,5}} ?(?:{_OF}|/) ?[0-9]{{1,6}}\W{{0,3}}$",
    rf"^\W{{0,3}}(?:showing |results? )?[0-9]{{1,6}} ?(?:[-–]|to) ?[0-9]{{1,6}} {_OF} (?:about )?[0-9][0-9.,]{{0,9}}"
    r"(?: [a-z]{1,12})?\W{0,3}$",
    r"^\W{0,3}第? ?[0-9]{1,5} ?(?:页|頁|ページ)(?:目|[ /，,]{0,3}(?:共|全)? ?[0-9]{1,6} ?(?:页|頁|ページ))?\W{0,3}$",
    rf"^(?:(?:{_EARLIER})[ :]{{0,3}})?\[?[0-9]{{1,4}}\]?(?:[ |·,…\[\].]{{1,5}}[0-9]{{1,5}}\]?){{1,20}} {{0,3}}"
    rf"(?:… ?|\.\.\. ?)?(?:{_LATER})(?: |»|›|last)*$",
)
_TEASER = (
    "read more|continue reading|more on this|weiterlesen|lesen sie auch|mehr zum thema|"
    "lire la suite|lire aussi|à lire aussi|leer más|lea también|lee también|читать далее|читайте также|阅读更多|"
    "相关阅读|続きを読む|関連記事"
)
_TEASERS = (
    rf"^\W{{0,4}}(?:{_TEASER}) ?[:：|»›>→] ?[^\W_]",
    rf"^\W{{0,4}}(?:{_TEASER}) (?:about|on|at|in|über|sur|sobre) ",
)
_RIGHTS = (
    "all rights reserved", "alle rechte vorbehalten", "tous droits réservés", "todos los derechos reservados",
    "reservados todos los derechos", "все права защищены", "版权所有", "版權所有", "著作権", "無断転載",
)  # fmt: skip
_COPYRIGHT = (
    r"^\W{0,4}(?:copyright|©|\(c\))[^a-z]{0,12}(?:19|20)[0-9]{2}",
    r"^\W{0,4}(?:copyright )?© ?\w",
    *_RIGHTS,
)
_COOKIES = (
    r"(?:we|(?:this|our) (?:web)?sites?|[a-z.]{1,24}) uses? (?:[\w-]{1,16} ){0,4}cookies",
    r"(?:accept|allow|reject|manage|decline) (?:all )?(?:our )?(?:use of )?cookies",
    r"by (?:continuing|using|clicking|browsing|closing)[^.]{0,120}cookies|your consent[^.]{0,60}cookies",
    r"^\W{0,4}cookies? (?:policy|settings|preferences|notice|consent|statement|banner)\W{0,4}$",
    r"(?:wir|(?:diese|unsere) (?:web)?(?:seite|site)n?)[^.]{0,60}cookies",
    r"durch die (?:weitere )?nutzung[^.]{0,80}cookies",
    r"cookies? (?:akzeptieren|zustimmen|zulassen|ablehnen|einverstanden)",
    r"(?:nous utilisons|ce site (?:web )?utilise|en poursuivant votre navigation|accepter)[^.]{0,80}cookies",
    r"(?:utilizamos|usamos|(?:este sitio|esta (?:web|página))(?: web)? (?:utiliza|usa))[^.]{0,80}cookies",
    r"(?:si continúa navegando|aceptar)[^.]{0,80}cookies",
    r"(?:мы используем|сайт использует|продолжая[^.]{0,60})[^.]{0,60}(?:cookie|куки)",
    r"(?:我们|我們|本网站|本網站|本站)[^。]{0,12}使用[^。]{0,20}cookie",
    r"(?:当サイト|本サイト|当社|このサイト|このウェブサイト)[^。]{0,40}(?:cookie|クッキー)",
)


@lru_cache(maxsize=1)
def patterns() -> tuple[Pattern, ...]:
    """All forms."""
    names, stems = phrase_data()["networks"], phrase_data()["share_stems"]
    networks = "|".join(re.escape(name) for name in names if len(name) >= 6 or not name.isascii())
    asks = "|".join(map(re.escape, stems))
    behind = ("teilen", "folgen", "シェア", "ツイート", "フォロー", "分享", "共有")
    digits = tuple("0123456789")
    return (
        _pattern(Reason.COOKIES, 90, ("cookie", "куки", "クッキー"), *_COOKIES),
        _pattern(Reason.COPYRIGHT, 60, ("©", "(c)", "copyright", *_RIGHTS), *_COPYRIGHT),
        _pattern(
            Reason.SHARING,
            12,
            tuple(names),
            rf"^\W{{0,4}}(?:click to )?(?:{asks})(?![a-z])[^.!?]{{0,32}}(?:{networks})[^.?]{{0,32}}$",
        ),
        _pattern(
            Reason.SHARING,
            8,
            behind,
            rf"^\W{{0,4}}(?:auf |bei |in |via |über )?(?:{networks})[^.!?]{{0,16}}(?:{'|'.join(behind)})(?:する)?$",
        ),
        _pattern(Reason.PAGINATION, 16, digits, *_PAGES),
        _pattern(Reason.READ_MORE, 24, tuple(_TEASER.split("|")), *_TEASERS),
        _pattern(
            Reason.TIMESTAMP,
            14,
            digits,
            rf"^\W{{0,4}}(?:(?:{_POSTED}) ?[:：]? ?)?(?:{_AGO})\W{{0,4}}$",
            rf"^[0-9]{{1,3}} ?(?:{_READING_TIME})$",
        ),
    )


def _pattern(rule: Reason, longest: int, clues: tuple[str, ...], *forms: str) -> Pattern:
    return Pattern(rule, longest, clues, re.compile("|".join(forms)))
