"""Numbers that authorities and standards publish as examples, and the same with one digit changed."""

import pytest

from tiers.l1_filtered.personal import check_digits as check

RIGHT = [
    (check.luhn, "79927398713"),
    (check.payment_card, "4111111111111111"),
    (check.payment_card, "378282246310005"),
    (check.payment_card, "2223003122003222"),
    (check.verhoeff, "2363"),
    (check.mod_11_10, "86095742719"),
    (check.iban, "DE89370400440532013000"),
    (check.iban, "GB29NWBK60161331926819"),
    (check.iban, "MT84MALT011000012345MTLCAST001S"),
    (check.uk_nino, "AB123456C"),
    (check.us_ssn, "536904399"),
    (check.de_tax_id, "86095742719"),
    (check.fr_nir, "255081416802538"),
    (check.fr_nir, "180032A00612315"),
    (check.es_dni, "12345678Z"),
    (check.es_dni, "X1234567L"),
    (check.it_fiscal_code, "RSSMRA85T10A562S"),
    (check.nl_bsn, "111222333"),
    (check.br_cpf, "52998224725"),
    (check.br_cnpj, "11222333000181"),
    (check.in_aadhaar, "234123412346"),
    (check.cn_resident_id, "11010519491231002X"),
]


@pytest.mark.parametrize(("function", "code"), RIGHT)
def test_published_numbers_are_right(function, code):
    assert function(code)


@pytest.mark.parametrize(("function", "code"), [pair for pair in RIGHT if pair[0] not in (check.uk_nino, check.us_ssn)])
def test_another_digit_makes_them_wrong(function, code):
    at = max(at for at, character in enumerate(code[:-1]) if character.isdigit())
    changed = code[:at] + str((int(code[at]) + 1) % 10) + code[at + 1 :]

    assert not function(changed)


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (check.us_ssn, "000123456"),
        (check.us_ssn, "666123456"),
        (check.us_ssn, "900123456"),
        (check.us_ssn, "123006789"),
        (check.uk_nino, "QQ123456C"),
        (check.uk_nino, "GB123456A"),
        (check.payment_card, "4000000000000000"),
        (check.payment_card, "9111111111111111"),
        (check.br_cpf, "11111111111"),
        (check.cn_resident_id, "110105194913310020"),
        (check.iban, "DE8937040044053201300"),
    ],
)
def test_numbers_that_are_not_given_out(function, code):
    assert not function(code)
