import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tiers.document import documents
from tiers.l1_filtered.personal.finding import Kind
from tiers.l1_filtered.personal_data import PersonalData, find_personal_data, replace, suspects
from tiers.stage import Context, check_outcome

ALL = frozenset(Kind)
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7bq3Xk0Zp1u2\nq83vAbCdEf==\n-----END RSA PRIVATE KEY-----"


def run(rows, **parameters):
    stage = PersonalData(**parameters)
    table = documents([{"source": str(number), **row} for number, row in enumerate(rows)])
    outcome = stage.prepare(Context(models=Path()))(table)
    check_outcome(stage, table, outcome)
    return outcome


def replaced(text, kinds=ALL):
    return replace(text, find_personal_data(text, kinds))


REPLACED = {
    "Write to jane.doe+x@mail.uni-koeln.de.": "Write to [EMAIL].",
    "<müller@gmx.de>, a_b@q.co.uk": "<[EMAIL]>, [EMAIL]",
    "jane (at) posteo [dot] de or bob[at]web.de": "[EMAIL] or [EMAIL]",
    "Server 93.184.216.34 and http://93.184.216.34:80/": "Server [IP] and http://[IP]:80/",
    "nameserver 8.8.8.8, 2a00:1450:4001:82b::200e": "nameserver [IP], [IP]",
    "+49 (0)221 470-1234, +1 212-736-5000 and (212) 736-5000": "[PHONE], [PHONE] and [PHONE]",
    "Tel.: 0221/123456 Fax: 030 1234567 (2020)": "Tel.: [PHONE] Fax: [PHONE] (2020)",
    "手机：13912345678": "手机：[PHONE]",
    "4539 5787 6362 1486 or 4539578763621486": "[CARD] or [CARD]",
    "IBAN DE44 5001 0517 5407 3249 31 IS MINE": "IBAN [IBAN] IS MINE",
    "SSN: 536-90-4399": "SSN: [NATIONAL_ID]",
    "National Insurance number AB 12 34 56 C": "National Insurance number [NATIONAL_ID]",
    "Steuer-ID 65 929 970 489": "Steuer-ID [NATIONAL_ID]",
    "2 55 08 14 168 025 38": "[NATIONAL_ID]",
    "DNI 87654321X": "DNI [NATIONAL_ID]",
    "codice fiscale MRTMTT91D08F205J": "codice fiscale [NATIONAL_ID]",
    "BSN 123456782": "BSN [NATIONAL_ID]",
    "CPF 111.444.777-35, CNPJ 11.444.777/0001-61": "CPF [NATIONAL_ID], CNPJ [NATIONAL_ID]",
    "Aadhaar 2341 2341 2346": "Aadhaar [NATIONAL_ID]",
    "身份证11010519491231002X。": "身份证[NATIONAL_ID]。",
    "邮箱abc@qq.com请联系，电话02162781234，服务器93.184.216.34。": "邮箱[EMAIL]请联系，电话[PHONE]，服务器[IP]。",
    'password = "Tr0ub4dor&3x"': 'password = "[SECRET]"',
    "export API_KEY=abc123def456": "export API_KEY=[SECRET]",
    "postgres://bob:s3cr3tPw@db.host.com/x": "postgres://bob:[SECRET]@db.host.com/x",
    "AKIAQWERTYUIOPASDFGH": "[SECRET]",
    f"ghp_{'a1B2' * 9} xoxb-123456789012-abcdefABCDEF": "[SECRET] [SECRET]",
    f"sk-proj-{'aB3' * 10} and eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlX3g": "[SECRET] and [SECRET]",
    f"Key:\n{KEY}\nEnd.": "Key:\n[SECRET]\nEnd.",
    json.dumps({"key": KEY}): '{"key": "[SECRET]"}',
    "link/ether 72:b3:ba:91:e2:24": "link/ether [MAC]",
}


@pytest.mark.parametrize(("text", "expected"), REPLACED.items())
def test_personal_data_is_replaced_by_its_kind(text, expected):
    assert replaced(text) == expected


LEFT = [
    "a@example.com, b@mail.example.org, c@host.invalid, d@localhost, logo@2x.png, @property, git@github.com:a/b.git",
    "v1.2.3.4, version 88.1.2.3, lib-1.22.33.44.tar.gz, foo==1.2.3.4, 4.3.2.1 Scope, 1.3.6.1.4.1, 256.1.1.1",
    "10.0.0.1 192.168.1.1 127.0.0.1 192.0.2.7 198.51.100.1 203.0.113.9 224.0.0.1 2001:db8::1 fe80::1 a::b 12:30:45",
    "phone +1 212-555-0123, call (312) 555-0199, tel. 020 7946 0018",
    "Part no. 425-773-1234, model 312-373-1234, GO:0007155 in cell adhesion, phone model 1234567",
    "+922 337 203 685 477,5807, +100 000 000 people, +3.14159265, C++11 1234567, 1990 1991 1992 1993",
    "2020-01-02 10:11:12, 20200102101112, 02.01.2020, Tel. since 2020-01-02",
    "4539 5787 6362 1487, 4111 1111 1111 1111, id: 4539578763621486, 3587867296617760276",
    "ISBN 978-3-16-148410-0, arXiv:2112.11446, doi:10.1000/182, $1,299,000.00",
    "DE45 5001 0517 5407 3249 31, DE89 3704 0044 0532 0130 00",
    "536-90-4399 without a word near it, before a few others of no use, SSN 666-12-3456, BSN 123456789, 111.444.777-36",
    "password = None, password=getpass(), token: str = None, secret: ${VALUE}, password: your_password1",
    "the password is: correct, api_key = os.environ['KEY'], AKIAIOSFODNN7EXAMPLE, sk-fading-circle-animation-x",
    "http://user:pass@host:port/, smb://user:password@server/",
]


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_stays(text):
    assert replaced(text) == text


def test_rows_are_kept_counted_and_noted():
    outcome = run(
        [
            {"text": "Mail a@b.org or c@d.org, phone 030 1234567.", "title": "By e@f.org"},
            {"text": "Nothing here.", "title": None},
        ]
    )

    assert outcome.kept["text"].to_pylist() == ["Mail [EMAIL] or [EMAIL], phone [PHONE].", "Nothing here."]
    assert outcome.kept["title"].to_pylist() == ["By [EMAIL]", None]
    assert outcome.kept["quality.personal_data"].to_pylist() == [4, 0]
    assert [(row["reason"], row["detail"]) for row in outcome.noted.to_pylist()] == [
        ("personal_data.email", "3 email"),
        ("personal_data.phone", "1 national"),
    ]


def test_only_wanted_kinds_are_replaced():
    rows = [{"text": "a@b.org 93.184.216.34 00:16:3e:c2:07:ee"}]

    assert run(rows).kept["text"].to_pylist() == ["[EMAIL] [IP] 00:16:3e:c2:07:ee"]
    assert run(rows, kinds=["ip", "mac"]).kept["text"].to_pylist() == ["a@b.org [IP] [MAC]"]


VALUES = ["jane.doe@mail.org", "93.184.216.34", "+49 221 4701234", "4539578763621486", "Tr0ub4dor&3x", "536-90-4399"]


def test_no_value_leaves_but_in_the_text_that_came():
    text = (
        "jane.doe@mail.org 93.184.216.34 +49 221 4701234 card 4539578763621486 password='Tr0ub4dor&3x' SSN 536-90-4399"
    )
    outcome = run([{"text": text, "title": text}])
    written = json.dumps([t.to_pylist() for t in (outcome.kept, outcome.noted, outcome.dropped, outcome.failed)])

    assert not [value for value in VALUES if value in written]
    assert outcome.kept["quality.personal_data"].to_pylist() == [12]


def test_placeholders_are_not_replaced_again():
    for text in REPLACED:
        once = replaced(text)
        assert replaced(once) == once


@pytest.mark.parametrize("text", REPLACED)
def test_the_first_look_misses_nothing(text):
    found = {finding.kind for finding in find_personal_data(text, ALL)}

    assert found <= suspects(pa.chunked_array([[text]], pa.large_string()), ALL).get(0, frozenset())


PIECES = st.sampled_from(
    [
        *"a1+(@.:-/=[ \n٣é\u00a0",
        "0",
        "4539",
        "DE44",
        "password",
        "eyJ",
        "sk-",
        "AKIA",
        "://",
        "phone ",
        "@b.org",
        "2a00:",
        "::",
    ]
)


@given(st.one_of(st.lists(PIECES, max_size=60).map("".join), st.text(max_size=80)))
def test_any_text_is_read(text):
    findings = find_personal_data(text, ALL)
    kinds = suspects(pa.chunked_array([[text]], pa.large_string()), ALL).get(0, frozenset())

    assert all(0 <= finding.start < finding.end <= len(text) for finding in findings)
    assert all(first.end <= second.start for first, second in pairwise(findings))
    assert find_personal_data(text, kinds) == findings


LONG = [
    *[
        "a",
        "1",
        "1 ",
        "@",
        "a@",
        "a@b.",
        "1.",
        "(1",
        "+1",
        "+49 ",
        "1-2-",
        "2a00:",
        "eyJa.",
        "sk-a",
        "password=",
        "tokena:",
    ],
    *["://a:", "AB12 ", "ABCDEF12", "X1234567", "(at)", "a(at)b(dot)", "phone 1", "SG.aaaaaaaaaaaaaaaa.", "00:", "\\n"],
    *["4539 5787 6362 1486 ", "ssn 123-45-6788 ", "-----BEGIN PRIVATE KEY-----", "1.2.3.4 "],
]


@pytest.mark.parametrize("unit", LONG)
def test_long_runs_are_read_in_linear_time(unit):
    text = (unit * (30_000 // len(unit) + 1))[:30_000]

    assert len(find_personal_data(text, ALL)) < len(text)


@pytest.mark.parametrize("kinds", [[], ["name"]])
def test_kinds_that_there_are_not_are_refused(kinds):
    with pytest.raises(ValidationError):
        PersonalData(kinds=kinds)
