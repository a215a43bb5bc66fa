"""Several references a sentence, by the conventions of sacrebleu, of bert-score and of MoverScore's authors."""

import io
import json
from itertools import zip_longest

import bert_score
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.significance import PairedTest

from fairseq_bertloss import cli
from fairseq_bertloss.evaluation import results
from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.evaluation.hypotheses import Generated, Translations
from fairseq_bertloss.evaluation.metrics import Evaluator
from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.evaluation.references import ReferenceFile, References
from fairseq_bertloss.evaluation.results import Run, System
from fairseq_bertloss.evaluation.same_test_set import check_belong_together, check_belongs
from fairseq_bertloss.evaluation.similarity import similarities
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

SIZE = 30
METRICS = {
    "bleu": sacrebleu.BLEU(lowercase=True),
    "chrf": sacrebleu.CHRF(lowercase=True),
    "ter": sacrebleu.TER(),
}


@pytest.fixture(scope="module")
def texts(real_pairs):
    """Two systems, and three files of references, the second and the third of which have not all."""
    hypotheses, references = (side[:SIZE] for side in real_pairs)
    return {
        "a": hypotheses,
        "b": [line.replace("the", "a") for line in references],
        "first": references,
        "second": ["" if i % 3 == 0 else line.replace("is", "was")[4:] for i, line in enumerate(references)],
        "third": [" " if i % 5 == 1 else f"{line.lower()} {line[:20]}" for i, line in enumerate(references)],
    }


@pytest.fixture(scope="module")
def groups(texts):
    """The references of each sentence, as bert-score takes them."""
    rows = zip(texts["first"], texts["second"], texts["third"], strict=True)
    return [[line for line in row if line.strip()] for row in rows]


@pytest.fixture(scope="module")
def streams(groups):
    """The same as sacrebleu takes them."""
    return list(zip_longest(*groups))


@pytest.fixture(scope="module")
def evaluation(minilm, texts):
    evaluator = Evaluator(minilm, 5, lowercase=True)
    systems = [Translations(name, texts[name], None) for name in "ab"]
    return evaluator.score(systems, texts["first"], texts["second"], texts["third"])


class TestReferences:
    """The type by itself."""

    def test_a_blank_line_is_no_reference(self):
        references = References.of(["a", " ", "", " "], ["b", "c", "", "\t"], ["", "d", "e", ""])
        assert references.by_sentence == [["a", "b"], ["c", "d"], ["e"], [" "]]
        assert references.first == ["a", "c", "e", " "] and len(references) == 4
        assert references.streams == [("a", "c", "e", " "), ("b", "d", None, None)]
        assert references.number == "var"

    def test_one_file_stands_as_it_is(self):
        references = References.of(["a", "", " b "])
        assert references.lines == references.first == ["a", "", " b "] and references.number == 1

    def test_the_number_is_that_of_sacrebleus_signature(self):
        for files in (["a b"],), (["a b"], ["a"]), (["a", "b"], ["a", "b"], ["c", ""]):
            references = References.of(*files)
            bleu = sacrebleu.BLEU()
            bleu.corpus_score(files[0], references.streams)
            assert f"nrefs:{references.number}|" in str(bleu.get_signature())

    @given(st.lists(st.tuples(st.sampled_from(["a", "b c"]), *[st.sampled_from(["", "a", "d"])] * 2), min_size=1))
    def test_repeated_and_grouped_fit_the_lines(self, rows):
        references = References.of(*zip(*rows, strict=True))
        numbers = references.repeated(range(len(rows)))
        assert references.grouped(references.lines) == references.by_sentence
        assert all(line in rows[i] for i, line in zip(numbers, references.lines, strict=True))
        assert references.mapped(lambda lines: [line.upper() for line in lines]).by_sentence == [
            [line.upper() for line in own] for own in references.by_sentence
        ]

    def test_files_of_other_lengths(self):
        with pytest.raises(ValueError, match="of as many sentences each, not 2 and 1"):
            References.of(["a", "b"], ["a"])


def test_sacrebleus_metrics(evaluation, texts, streams):
    for run in evaluation.runs:
        for name, metric in METRICS.items():
            score = metric.corpus_score(run.hypotheses, streams)
            assert run.corpus[name] == score.score
            if name == "bleu":
                assert run.corpus["length_ratio"] == score.sys_len / score.ref_len
        rows = zip(run.hypotheses, zip(*streams, strict=True), strict=True)
        expected = [sacrebleu.sentence_bleu(line, list(own), lowercase=True).score for line, own in rows]
        assert run.sentences["bleu"] == expected
    titles = {"bleu": "BLEU", "chrf": "chrF", "ter": "TER"}
    for name, title in titles.items():
        assert evaluation.signatures[title] == str(METRICS[name].get_signature())


def test_bertscore_is_that_of_the_package(evaluation, groups, minilm):
    for run in evaluation.runs:
        expected = bert_score.score(run.hypotheses, groups, model_type=minilm, num_layers=5)
        for name, values in zip(("p_bert", "r_bert", "f_bert"), expected, strict=True):
            assert run.corpus[name] == pytest.approx(100 * float(values.mean()), abs=1e-4)
        assert run.sentences["f_bert"] == pytest.approx((100 * expected[2]).tolist(), abs=1e-4)


def test_moverscore_is_the_mean(evaluation, groups, minilm):
    scorer = MoverScorer(minilm)
    for run in evaluation.runs:
        for score, line, own in list(zip(run.sentences["moverscore"], run.hypotheses, groups, strict=True))[:10]:
            expected = scorer.score([line] * len(own), own)
            assert score == pytest.approx(100 * sum(expected) / len(own), abs=1e-4)


def test_signatures_say_how_many(evaluation, minilm):
    for signature in evaluation.signatures.values():
        assert "nrefs:var" in signature
    evaluator = Evaluator(minilm, 5)
    system = Translations("x", ["a dog", "a cat"], None)
    one, two = (evaluator.score([system], *[["the dog", "my cat"]] * number) for number in (1, 2))
    assert all("nrefs:2" in signature for signature in two.signatures.values())
    assert one.signatures["F_BERT"] == FBertScorer(minilm, 5).signature
    assert one.signatures["MoverScore"] == MoverScorer(minilm).signature
    assert [two.runs[0].corpus[name] for name in ("bleu", "chrf", "ter", "f_bert", "moverscore", "length_ratio")] == [
        one.runs[0].corpus[name] for name in ("bleu", "chrf", "ter", "f_bert", "moverscore", "length_ratio")
    ], "the same file twice"


def test_the_heat_map_has_the_reference_of_the_best_f(minilm):
    systems = [System(name, [Run(name, [text], {}, {})]) for name, text in (("x", "a small cat"), ("y", "no dogs"))]
    references = References.of(["all the dogs"], ["a little cat"])
    cat, dogs = similarities(systems, 0, references, minilm, 5)
    assert cat.reference_tokens[1:-1] == ["a", "little", "cat"]
    assert dogs.reference_tokens[1:-1] == ["all", "the", "dogs"]
    assert len(cat.cosine[0]) == len(cat.reference_tokens)


class TestSameTestSet:
    """Which files belong together."""

    def test_further_references(self, texts):
        files = [ReferenceFile(name, texts[name]) for name in ("first", "second", "third")]
        check_belong_together(files)
        check_belong_together([files[0], files[0]])
        check_belong_together([ReferenceFile("yes", ["yes"] * SIZE), ReferenceFile("blank", [""] * SIZE)])

    @pytest.mark.parametrize("first, other", [("first", "second"), ("second", "first")])
    def test_another_order(self, first, other, texts):
        shifted = texts[other][7:] + texts[other][:7]
        with pytest.raises(ValueError, match=f"^{other} is of another test set than {first}, or in another order"):
            check_belong_together([ReferenceFile(first, texts[first]), ReferenceFile(other, shifted)])

    def test_targets_of_any_file(self, texts, minilm):
        """fairseq-generate's targets may be the references of the second file."""
        tokenizer = load_tokenizer(minilm)
        generated = Generated(texts["a"], texts["third"], None)
        system = Translations("gen", texts["a"], generated)
        several = References.of(texts["first"], texts["third"])
        check_belongs(system, several, "first", tokenizer)
        with pytest.raises(ValueError, match="gen is of another test set than first: its line T-0 is"):
            check_belongs(system, References.of(texts["first"]), "first", tokenizer)

    def test_plain_text_is_near_any_file(self, texts):
        """A paraphrase shares with one of the references what it does not share with another."""
        far = [f"{i}{i}" for i in range(SIZE)]
        system = Translations("a", texts["b"], None)
        check_belongs(system, References.of(far, texts["first"]), "far", None)
        shifted = texts["first"][3:] + texts["first"][:3]
        with pytest.raises(ValueError, match="a is of another test set than far, or in another order"):
            check_belongs(system, References.of(far, shifted), "far", None)


@pytest.fixture
def bertloss(minilm, texts, write):
    """A function that runs a subcommand with three files of references and returns its exit status."""
    files = {name: write(name, "".join(f"{line}\n" for line in lines)) for name, lines in texts.items()}

    def run(command: str, *arguments: str, references=("{first}", "{second}", "{third}")) -> int:
        options = [option for path in references for option in ("--reference", path)]
        filled = [argument.format(**files) for argument in (*options, *arguments)]
        return cli.main([command, "--lm", minilm, "--layer", "5", "--lowercase", *filled])

    return run


def test_score(bertloss, evaluation, capsys):
    assert bertloss("score", "a={a}", "b={b}", "--json", "--sentence-level") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["signatures"] == evaluation.signatures
    for run in evaluation.runs:
        (own,) = printed["systems"][run.file]
        assert own["scores"] == pytest.approx(run.corpus)
        for name in results.HEADLINE:
            assert own["sentences"][name] == pytest.approx(run.sentences[name])
    assert bertloss("score", "{a}") == 0
    assert "distinct: different lines, in percent of all (the first references: 100.0)" in capsys.readouterr().out


def test_one_of_the_files_is_standard_input(bertloss, texts, monkeypatch, capsys):
    printed = []
    for second in ("{second}", "-"):
        content = "".join(f"{line}\n" for line in texts["second"])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
        assert bertloss("score", "a={a}", references=("{first}", second)) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    for references, system in ((("-", "-"), "{a}"), (("{first}", "-"), "-")):
        assert bertloss("score", system, references=references) == 2
        assert "can be read only once" in capsys.readouterr().err


def test_compare_and_report(bertloss, texts, streams, tmp_path, capsys):
    path = tmp_path / "comparison.json"
    options = ["--baseline", "{a}", "--system", "b={b}", "--resamples", "1000"]
    assert bertloss("compare", *options, "--output", str(path)) == 0
    printed = capsys.readouterr().out
    (comparison,) = results.read(str(path), results.Comparison)
    assert f"{SIZE} sentences of first, against 3 files of references; scores in percent." in printed
    assert comparison.references == texts["first"]
    assert [file.rpartition("/")[2] for file in comparison.further_reference_files] == ["second", "third"]

    test = comparison.test("b", "baseline", "bleu")
    scores = [METRICS["bleu"].corpus_score(texts[name], streams).score for name in "ab"]
    assert test.difference == pytest.approx(scores[1] - scores[0])
    systems = [("a", texts["a"]), ("b", texts["b"])]
    paired = PairedTest(systems, {"BLEU": METRICS["bleu"]}, streams, test_type="bs", n_samples=1000)
    paired._seed = 12345
    assert test.p_sacrebleu["bootstrap"] == paired()[1]["BLEU"][1].p_value
    for name, low_and_high in comparison.system("b").intervals.items():
        assert low_and_high[0] < comparison.system("b").mean(name) < low_and_high[1]

    assert cli.main(["report", "--runs", str(tmp_path), "--output", str(tmp_path / "report.html")]) == 0
    capsys.readouterr()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ">first reference</p>" in page and ">reference</p>" not in page
    assert "at the quartiles of the first references" in page and "The first references: distinct" in page
    assert f"<code>{', '.join((comparison.reference_file, *comparison.further_reference_files))}</code>" in page
    assert "Of several references that of the best F_BERT." in page.replace("<sub>", "_").replace("</sub>", "")
    assert "first reference & " in (tmp_path / "report.examples.tex").read_text(encoding="utf-8")

    assert bertloss("compare", *options, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [printed["reference"], *printed["further_references"]] == [
        comparison.reference_file,
        *comparison.further_reference_files,
    ]


def test_results_with_one_file_have_nothing_of_others(bertloss, tmp_path, capsys):
    path = tmp_path / "comparison.json"
    options = ["--baseline", "{a}", "--system", "b={b}", "--resamples", "1000"]
    assert bertloss("compare", *options, "--output", str(path), "--json", references=["{first}"]) == 0
    assert "further" not in capsys.readouterr().out and "further" not in path.read_text()
    assert results.read(str(path), results.Comparison)[0].further_reference_files == []


def test_the_warnings_are_of_every_file(bertloss, write, texts, caplog):
    tokenized = write("tokenized", "".join(f"{line[:-1]} , and &apos;s .\n" for line in texts["first"]))
    pieces = write("pieces", "".join(f"{line[:5]}@@ {line[5:]}\n" for line in texts["first"]))
    assert bertloss("score", "{b}", references=("{first}", tokenized)) == 0
    (message,) = (message for message in caplog.messages if "tokenized" in message)
    assert "b is not tokenized, and the references are (" in message and f"; {tokenized}: " in message
    caplog.clear()
    assert bertloss("score", "{b}", references=("{first}", pieces)) == 0
    assert any(message.startswith(f"{pieces}: ") and "subword mark @@" in message for message in caplog.messages)


@pytest.mark.parametrize("command", [["score", "{a}"], ["compare", "--baseline", "{a}", "--system", "b={b}"]])
def test_files_that_do_not_belong_together(command, bertloss, write, texts, capsys):
    shorter = write("shorter", "".join(f"{line}\n" for line in texts["first"][1:]))
    shifted = write("shifted", "".join(f"{line}\n" for line in texts["first"][1:] + texts["first"][:1]))
    for other, message in (
        (shorter, f"has {SIZE - 1} references and"),
        (shifted, "is of another test set than"),
        ("missing", "cannot read missing"),
    ):
        assert bertloss(*command, references=("{first}", other)) == 2
        out, error = capsys.readouterr()
        assert out == "" and error.startswith("bertloss: error: ") and error.count("\n") == 1 and message in error
        assert other in error
