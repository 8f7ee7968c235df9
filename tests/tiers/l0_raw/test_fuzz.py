"""Whatever one record is turned into, nothing raises, every row is accounted for, and its neighbours are kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.poison import good_page, warc_record
from tests.tiers.l0_raw.archives import ARCHIVES, DESCRIPTION, Read, arc_record
from tests.tiers.l0_raw.fuzzing import Material, check_case, material
from tiers.l0_raw import FORMATS, format_of
from tiers.l0_raw.arc import ARC
from tiers.l0_raw.warc import WARC


@pytest.fixture(scope="module")
def materials() -> list[Material]:
    made = {
        "warc": [warc_record(good_page(n), f"https://example.org/{n}") for n in range(4)],
        "arc": [DESCRIPTION, *(arc_record(good_page(n), f"http://example.org/{n}") for n in range(4))],
    }
    archives = {form: [b"".join(parts)] for form, parts in made.items()}
    for path in ARCHIVES:
        if path.stat().st_size < 200_000:
            archives[format_of(path.name)].append(path.read_bytes())
    return [material("warc", WARC, archives["warc"], 20_000), material("arc", ARC, archives["arc"], 20_000)]


@given(number=st.integers(min_value=0, max_value=1 << 40))
@settings(max_examples=300)
def test_a_harmed_record_harms_no_other(materials: list[Material], number: int) -> None:
    check_case(materials, number)


@given(data=st.binary(max_size=400))
@settings(max_examples=100)
@pytest.mark.parametrize("form", FORMATS)
def test_any_bytes_are_rows_or_failures(form: str, data: bytes) -> None:
    starts = {"warc": b"WARC/1.0\r\n", "arc": b"http://a 1.1.1.1 20080430204825 text/html ", "parquet": b"PAR1"}
    for start in (b"", starts.get(form, b"\x1f\x8b\x08")):
        fates = Read(FORMATS[form].read, start + data).fates
        assert len(fates) == len({row for row, _ in fates})
