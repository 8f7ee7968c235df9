import pytest
from pydantic import ValidationError

from tiers.document import documents
from tiers.l1_filtered.language import Language
from tiers.stage import Context, check_outcome

TEXTS = {
    "en": "The lighthouse keeper climbed the stairs every evening to light the lamp that guided the ships.",
    "de": "Der Leuchtturmwärter stieg jeden Abend die Treppe hinauf, um die Lampe für die Schiffe anzuzünden.",
    "fr": "Le gardien du phare montait chaque soir les escaliers pour allumer la lampe qui guidait les bateaux.",
    "zh": "灯塔看守人每天晚上都会爬上楼梯，点亮指引船只沿着海岸航行的灯。",
    "ru": "Смотритель маяка каждый вечер поднимался по лестнице, чтобы зажечь лампу для кораблей.",
}


def run(tmp_path, texts, **parameters):
    stage = Language(**parameters)
    table = documents([{"text": text, "source": str(number)} for number, text in enumerate(texts)])
    outcome = stage.prepare(Context(models=tmp_path))(table)
    check_outcome(stage, table, outcome)
    return outcome


def test_languages_are_told_apart(tmp_path):
    outcome = run(tmp_path, TEXTS.values(), keep=[])

    assert outcome.kept["lang"].to_pylist() == list(TEXTS)
    assert min(outcome.kept["quality.lang_confidence"].to_pylist()) > 0.65
    assert max(outcome.kept["quality.lang_confidence"].to_pylist()) <= 1


def test_only_wanted_languages_are_kept(tmp_path):
    outcome = run(tmp_path, TEXTS.values(), keep=["en", "fr"])

    assert outcome.kept["lang"].to_pylist() == ["en", "fr"]
    assert set(outcome.dropped["reason"].to_pylist()) == {"other_language"}
    assert outcome.dropped["detail"][0].as_py().startswith("de ")
    assert outcome.dropped["detail"][0].as_py().endswith("wanted en,fr >= 0.65")


@pytest.mark.parametrize("text", ["", " \n", "\x00\x01", "12345 --- 678", "🙂"])
def test_text_without_letters_has_no_language(tmp_path, text):
    outcome = run(tmp_path, [text], keep=[])

    assert outcome.kept["lang"].to_pylist() == ["und"]
    assert outcome.kept["quality.lang_confidence"].to_pylist() == [0]


def test_a_long_text_is_judged_by_more_than_its_beginning(tmp_path):
    text = "Menu Home " * 30 + f"{TEXTS['de']} " * 5000

    assert run(tmp_path, [text], keep=["de"]).kept.num_rows == 1


def test_layout_does_not_matter(tmp_path):
    spread = run(tmp_path, [TEXTS["en"].replace(" ", "\n")], keep=[]).kept
    plain = run(tmp_path, [TEXTS["en"]], keep=[]).kept

    assert spread["quality.lang_confidence"].equals(plain["quality.lang_confidence"])


@pytest.mark.parametrize("parameters", [{"keep": ["English"]}, {"min_confidence": 1.1}, {"sample": 1}])
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(ValidationError):
        Language(**parameters)
