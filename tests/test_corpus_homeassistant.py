"""corpus/homeassistant.py on small wheels: what is joined, what is a sentence, and that the splits are isolated."""

import json
import zipfile

import pytest

from fairseq_bertloss.corpus.homeassistant import aligned, connected, extract, isolated_splits, parallel_sentences
from fairseq_bertloss.corpus.lines import fold


def wheel(path, translations: dict[str, dict[str, dict]]) -> str:
    """A wheel with {component: {language: tree}}."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("homeassistant/const.py", "")
        for component, trees in translations.items():
            for language, tree in trees.items():
                name = f"homeassistant/components/{component}/translations/{language}.json"
                archive.writestr(name, json.dumps(tree))
    return str(path)


def numbered_pairs(count):
    return sorted((f"Das ist der Satz {i}.", f"This is sentence {i}.") for i in range(count))


def test_strings_are_joined_on_their_keys(tmp_path):
    path = wheel(
        tmp_path / "h.whl",
        {
            "airly": {
                "de": {
                    "a": {"b": "Bitte  den Schlüssel eingeben."},
                    "kurz": "Nur drei Wörter.",
                    "nur": "Nur auf Deutsch hier.",
                },
                "en": {"a": {"b": "Please enter the key."}, "kurz": "Three words only."},
            },
            "zha": {
                "de": {
                    "x": "Bitte den Schlüssel eingeben.",
                    "lang": "viel " * 30 + "mehr.",
                    "list": ["Das sind vier Wörter."],
                },
                "en": {"x": "Please enter the key.", "lang": "much " * 29 + "more."},
            },
            "only_english": {"en": {"x": "There are four words."}},
        },
    )
    assert parallel_sentences(path, "de", "en") == [("Bitte den Schlüssel eingeben.", "Please enter the key.")]


@pytest.mark.parametrize(
    "source, target",
    [
        ("Bitte {name} jetzt noch eingeben.", "Please enter {name} right now."),
        ("Bitte `Name` jetzt noch eingeben.", "Please enter name right now."),
        ("Siehe https://home.de und noch mehr.", "See https://home.de and even more."),
        ("Bearbeite jetzt die configuration.yaml.", "Please edit the configuration.yaml now."),
        ("Den Schlüssel jetzt noch eingeben", "Enter the key right now."),
        ("Schlüssel für das alte Gerät", "Key of the old device"),
    ],
)
def test_what_is_no_plain_sentence_is_left_out(source, target, tmp_path):
    path = wheel(tmp_path / "h.whl", {"a": {"de": {"x": source}, "en": {"x": target}}})
    assert parallel_sentences(path, "de", "en") == []


def test_strings_of_as_many_sentences_are_split():
    assert aligned("Ist es an? Dann evtl. am Gerät ausschalten.\nEnde", "Is it on? Then turn it off.\nEnd") == [
        ("Ist es an?", "Is it on?"),
        ("Dann evtl. am Gerät ausschalten.", "Then turn it off."),
        ("Ende", "End"),
    ]
    assert aligned("请输入密码。你好！", "Enter the password. Hello!") == [
        ("请输入密码。", "Enter the password."),
        ("你好！", "Hello!"),
    ]


def test_other_strings_stay_in_one_piece():
    for source in ("Es ist an. Das ist gut.", "Es ist z. B. Strom da, und das ist gut."):
        assert aligned(source, "It is on, which is good.") == [(source, "It is on, which is good.")]


def test_chinese_length_is_in_words(tmp_path):
    path = wheel(
        tmp_path / "h.whl",
        {
            "a": {
                "zh-Hans": {"x": "请输入您的密码。", "y": "密码。"},
                "en": {"x": "Enter your password now.", "y": "This is your password."},
            }
        },
    )
    assert parallel_sentences(path, "zh", "en") == [("请输入您的密码。", "Enter your password now.")]


def test_groups_are_connected_through_either_side():
    pairs = [("a", "1"), ("A", "2"), ("b", "2"), ("c", "3"), ("d", "3"), ("e", "4")]
    assert sorted(map(sorted, connected(pairs))) == [
        [("A", "2"), ("a", "1"), ("b", "2")],
        [("c", "3"), ("d", "3")],
        [("e", "4")],
    ]


def test_no_text_is_in_two_splits():
    pairs = numbered_pairs(300)
    pairs += [(source.upper(), f"{target} too") for source, target in pairs[:100]]
    pairs += [(f"{source} auch", target.title()) for source, target in pairs[50:150]]
    splits = isolated_splits(sorted(pairs), 40, seed=1)
    assert [len(splits[name]) for name in ("valid", "test")] == [40, 40]
    for side in (0, 1):
        texts = {name: {fold(pair[side]) for pair in kept} for name, kept in splits.items()}
        assert not texts["train"] & texts["valid"]
        assert not texts["train"] & texts["test"]
        assert not texts["valid"] & texts["test"]
    assert all(len({fold(source) for source, _ in splits[name]}) == 40 for name in ("valid", "test"))
    assert {pair for kept in splits.values() for pair in kept} <= set(pairs)
    assert len(splits["train"]) > 200


def test_split_is_deterministic_and_shuffled():
    pairs = numbered_pairs(100)
    first = isolated_splits(pairs, 10, seed=1)
    assert first == isolated_splits(pairs, 10, seed=1) != isolated_splits(pairs, 10, seed=2)
    assert first["valid"] != sorted(first["valid"])


def test_too_few_pairs_is_an_error():
    with pytest.raises(
        ValueError, match="20 pairs in 20 unconnected groups are too few: validation and test take 10 each"
    ):
        isolated_splits(numbered_pairs(20), 10, seed=1)


def test_extract_writes_aligned_files(tmp_path):
    strings = {str(i): (f"Das ist der Satz {i}.", f"This is sentence {i}.") for i in range(1100)}
    trees = {language: {key: pair[side] for key, pair in strings.items()} for side, language in enumerate(("de", "en"))}
    path = wheel(tmp_path / "h.whl", {"a": trees})
    record, is_new = extract(path, "de", "en", str(tmp_path / "out"))
    assert is_new and record["counts"] == {"train": 100, "valid": 500, "test": 500}
    for split, count in record["counts"].items():
        sides = [(tmp_path / "out" / f"{split}.{code}").read_text("utf-8").splitlines() for code in ("de", "en")]
        assert len(sides[0]) == count
        assert [line.split()[-1] for line in sides[0]] == [line.split()[-1] for line in sides[1]]
    assert not extract(path, "de", "en", str(tmp_path / "out"))[1]


def test_what_is_no_such_wheel_is_an_error(tmp_path):
    text = tmp_path / "a.whl"
    text.write_text("no zip")
    with pytest.raises(ValueError, match="a.whl is not a wheel"):
        extract(str(text), "de", "en", str(tmp_path / "out"))
    with pytest.raises(ValueError, match="is it a wheel of Home Assistant"):
        extract(wheel(tmp_path / "b.whl", {}), "de", "en", str(tmp_path / "out"))
    with pytest.raises(ValueError, match="no translations into 'xx', only de, en"):
        extract(wheel(tmp_path / "c.whl", {"a": {"de": {}, "en": {}}}), "xx", "en", str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.whl", "b.whl", "c.whl"]
