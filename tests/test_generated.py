"""generated.py: what fairseq-generate's output is, and what only looks like it."""

import re

import pytest

from fairseq_bertloss.evaluation.generated import parse
from fairseq_bertloss.evaluation.hypotheses import read_generated, read_references, read_translations
from fairseq_bertloss.forced_decoding import entropies

LOG = """\
2026-11-22 10:00:00 | INFO | fairseq.tasks.translation | [en] dictionary: 8848 types
2026-11-22 10:00:00 | INFO | fairseq.tasks.translation | [zh] dictionary: 6632 types
"""


def run(sentences: int = 3, nbest: int = 1, kinds: str = "STHDP", word: str = "a") -> str:
    """What fairseq-generate prints, the last sentence first."""
    lines = [LOG] if "S" in kinds else []
    for number in reversed(range(sentences)):
        lines += [f"{kind}-{number}\tsource {number}\n" for kind in "ST" if kind in kinds]
        for rank in range(nbest):
            scored = {"H": f"-0.{rank}\t{word} {rank}", "D": f"-0.{rank}\t{word} {rank}", "P": "-0.1 -0.1"}
            lines += [f"{kind}-{number}\t{text}\n" for kind, text in scored.items() if kind in kinds]
    return "".join(lines)


READERS = {
    "translations": lambda path, tokenizer: read_translations(path, tokenizer),
    "references": lambda path, tokenizer: read_references(path, tokenizer),
    "generated": lambda path, _: read_generated(path),
}
TWO_RUNS = {
    "appended": run() + run(word="b"),
    "the second cut off": run() + run(word="b")[: len(LOG) + 60],
    "the first cut off": run()[: len(LOG) + 60] + run(),
    "of --nbest": run(nbest=3) + run(nbest=3),
    "of one sentence": run(1) + run(1, word="b"),
    "without references": run(kinds="SHDP") + run(kinds="SHDP"),
    "hypotheses alone": run(kinds="H") + run(kinds="H", word="b"),
    "hypotheses alone, of --nbest": run(kinds="H", nbest=2) + run(kinds="H", nbest=2),
    "sorted": "".join(sorted((run() + run(word="b")).splitlines(True))),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", TWO_RUNS.values(), ids=TWO_RUNS)
def test_two_runs_in_one_file_are_refused(content, reader, write):
    message = r"gen holds several runs of fairseq-generate: its line [STH]-\d comes twice. Keep one"
    with pytest.raises(ValueError, match=message):
        READERS[reader](write("gen", content), None)


def test_entropy_says_so_too(write, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"never read")
    systems = [("x", str(tmp_path / "checkpoint.pt"), write("gen", TWO_RUNS["appended"]))]
    with pytest.raises(ValueError, match="gen holds several runs"):
        entropies("data", "test", systems)


INTERACTIVE = "".join(
    f"S-{i}\tquelle\nW-{i}\t0.100\tseconds\nH-{i}\t-0.1\ta\nD-{i}\t-0.1\ta\nP-{i}\t-0.1\nH-{i}\t-0.2\tb\n"
    for i in range(3)
)


@pytest.mark.parametrize(
    "content",
    [run(), run(nbest=3), run(1, nbest=5), run(kinds="H"), run(kinds="H", nbest=2), run(kinds="SHDP"), INTERACTIVE],
)
def test_one_run_is_read(content):
    generated = parse("gen", content.splitlines())
    assert len(generated.hypotheses) == content.count("H-") / max(1, len(re.findall("H-0", content)))
    assert set(generated.hypotheses) <= {"a 0", "a"}


def test_shards_are_one_run():
    whole = run().splitlines(True)
    shards = [[line for line in whole if re.match(f"[A-Z]-[{numbers}]", line)] for numbers in ("12", "0")]
    assert parse("gen", "".join([LOG, *shards[0], LOG, *shards[1]]).splitlines()).hypotheses == ["a 0"] * 3


def test_the_target_language_is_the_second_dictionarys():
    assert parse("gen", run().splitlines()).language == "zh"
    assert parse("gen", run(kinds="H").splitlines()).language is None


@pytest.mark.parametrize("kind", "STDP")
def test_other_lines_without_hypotheses_are_no_text(kind, write):
    path = write("cut", run(kinds=kind).replace(LOG, ""))
    for reader in READERS.values():
        with pytest.raises(ValueError, match=f"cut has fairseq-generate's {kind}- lines without the H- lines"):
            reader(path, None)


def test_text_that_mentions_such_lines_is_text():
    assert parse("text", ["S-1\tis a source", "and this", "is text"]) is None


def test_missing_sentences_name_the_usual_cause():
    lines = run().replace("-1\t", "-7\t").splitlines()
    message = r"3 sentences but not number 1; .*--skip-invalid-size-inputs-valid-test.*--required-batch-size-multiple 1"
    with pytest.raises(ValueError, match=message):
        parse("gen", lines)
