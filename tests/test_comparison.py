"""`bertloss compare` and `bertloss score` as users call them, on real sentences and a real BERT."""

import gzip
import io
import json

import pytest
import sacrebleu
from prepared import PAIRS

from fairseq_bertloss import cli
from fairseq_bertloss.commands.scoring import named_files
from fairseq_bertloss.evaluation import results
from fairseq_bertloss.evaluation.comparison import compare
from fairseq_bertloss.evaluation.metrics import Evaluator

REFERENCES = [f"{english} It is number {i}." for i in range(5) for _, english in PAIRS]
GOOD = [line.replace("the", "a").lower() for line in REFERENCES]
FAIR = [" ".join(word for j, word in enumerate(line.split()) if (i + j) % 3) for i, line in enumerate(GOOD)]
POOR = [" ".join(word for j, word in enumerate(line.split()) if (i + j) % 3 == 0) for i, line in enumerate(GOOD)]


@pytest.fixture
def files(write):
    """The paths of the reference and of three systems, by name."""
    texts = {"ref": REFERENCES, "good": GOOD, "fair": FAIR, "poor": POOR}
    return {name: write(name, "".join(f"{line}\n" for line in lines)) for name, lines in texts.items()}


@pytest.fixture
def bertloss(minilm, files):
    """A function that runs a subcommand with the evaluation's options and returns its exit status."""

    def run(command: str, *arguments: str, lm: str = minilm) -> int:
        filled = [argument.format(**files) for argument in arguments]
        return cli.main([command, "--reference", files["ref"], "--lm", lm, "--layer", "5", "--lowercase", *filled])

    return run


def test_compare(bertloss, files, tmp_path, capsys):
    path = str(tmp_path / "comparison.json")
    systems = ["--system", "better={good}", "--system", "seeds={fair},{good},{fair}"]
    assert bertloss("compare", "--baseline", "{fair}", "--control", "poor={poor}", *systems, "--output", path) == 0
    table = capsys.readouterr().out
    (comparison,) = results.read(path, results.Comparison)

    assert [system.name for system in comparison.systems] == ["baseline", "poor", "better", "seeds"]
    assert (comparison.baseline, comparison.control, comparison.references) == ("baseline", "poor", REFERENCES)
    expected = sacrebleu.corpus_bleu(GOOD, [REFERENCES], lowercase=True).score
    better = comparison.system("better")
    assert better.runs[0].corpus["bleu"] == expected and f"{expected:.2f}" in table
    made = {(test.system, test.against) for test in comparison.tests}
    assert made == {(name, "baseline") for name in ("poor", "better", "seeds")} | {
        ("better", "poor"),
        ("seeds", "poor"),
    }

    for metric in results.HEADLINE:
        low, high = better.intervals[metric]
        assert low < better.mean(metric) < high
        baseline = comparison.system("baseline").mean(metric)
        test = comparison.test("better", "baseline", metric)
        assert test.difference == pytest.approx(better.mean(metric) - baseline)
        assert test.p_runs is None and test.p < 0.01 and test.mark(comparison.level) == "†"
        assert test.interval[0] < test.difference < test.interval[1]
        assert comparison.test("poor", "baseline", metric).mark(comparison.level) == "‡"
        # One of three runs is better: the mean is, but runs that differ so much prove nothing.
        seeds = comparison.test("seeds", "baseline", metric)
        assert seeds.p_bootstrap < 0.01 < seeds.p_runs == seeds.p and seeds.mark(comparison.level) == ""
    assert set(comparison.test("better", "baseline", "bleu").p_sacrebleu) == {"bootstrap", "randomization"}
    assert comparison.test("better", "baseline", "f_bert").p_sacrebleu == {}

    pair = comparison.similarities
    assert [similarity.system for similarity in pair] == ["baseline", "seeds"]
    assert len({similarity.sentence for similarity in pair}) == 1
    for similarity in pair:
        assert len(similarity.cosine) == len(similarity.hypothesis_tokens)
        assert {len(row) for row in similarity.cosine} == {len(similarity.reference_tokens)}
        assert similarity.hypothesis_tokens[0] == "[CLS]" and similarity.cosine[0][0] > 0.5


def test_paired_runs(bertloss, tmp_path, capsys):
    """The seeds differ, and each has a gain: that of file i is from file i."""
    p = []
    for runs, option in (
        ("{fair},{good},{fair}", ["--paired-runs"]),
        ("{fair},{good},{fair}", []),
        ("{fair},{fair},{good}", ["--paired-runs"]),
    ):
        path = str(tmp_path / f"comparison{len(p)}.json")
        systems = ["--baseline", "{poor},{fair},{poor}", "--system", f"x={runs}", *option]
        assert bertloss("compare", *systems, "--output", path) == 0
        table = capsys.readouterr().out
        (comparison,) = results.read(path, results.Comparison)
        assert comparison.paired_runs == bool(option)
        assert ("by the test over paired runs where there are several" in table) == bool(option)
        p.append(comparison.test("x", "baseline", "moverscore").p_runs)
    paired, unpaired, in_another_order = p
    assert paired < unpaired / 2 and paired < in_another_order / 2


@pytest.fixture
def compared(minilm, real_pairs, write, tmp_path):
    """A function that runs compare on real sentences, some of them twice, and reads what it found."""
    hypotheses, references = (side[:100] + side[50:90] for side in real_pairs)
    texts = {
        "ref": references,
        "a": hypotheses,
        "b": [*hypotheses[:30], *references[30:50], *hypotheses[50:]],
        "c": [line.replace("the ", "a ") for line in hypotheses],
    }
    files = {name: write(name, "".join(f"{line}\n" for line in lines)) for name, lines in texts.items()}

    def run(*arguments: str) -> results.Comparison:
        path = str(tmp_path / "comparison.json")
        filled = [argument.format(**files) for argument in arguments]
        options = ["--lm", minilm, "--layer", "5", "--resamples", "1000", "--output", path]
        assert cli.main(["compare", "--reference", files["ref"], *options, *filled]) == 0
        return results.read(path, results.Comparison)[0]

    return run


@pytest.mark.parametrize("controls", [["weak={poor}", "{fair}"], ["{fair}", "weak={poor}"]])
def test_the_strongest_of_several_controls_judges(controls, bertloss, tmp_path, capsys):
    path = str(tmp_path / "comparison.json")
    options = [option for control in controls for option in ("--control", control)]
    assert bertloss("compare", "--baseline", "{poor}", *options, "--system", "x={good}", "--output", path) == 0
    printed = capsys.readouterr().out
    (comparison,) = results.read(path, results.Comparison)
    assert (comparison.control, comparison.weaker_controls) == ("control", ["weak"])
    assert [system.name for system in comparison.fine_tuned] == ["x"]
    tested = {(test.system, test.against) for test in comparison.tests}
    assert tested == {(name, "baseline") for name in ("control", "weak", "x")} | {("weak", "control"), ("x", "control")}
    assert "difference from control, cross-entropy continued (the strongest of 2 controls in F_BERT)" in printed
    assert printed.rstrip().endswith("repeated bigrams no more than 1 point higher): holds for x.")


def looped(lines: list[str]) -> list[str]:
    """Lines whose last two words are said four times."""
    return [" ".join([line, *line.split()[-2:] * 3]) for line in lines]


def test_a_loop_is_a_collapse_where_the_control_does_not_loop(compared, write, real_pairs, tmp_path, capsys):
    hypotheses = real_pairs[0][:100] + real_pairs[0][50:90]
    loops = write("loops", "".join(f"{line}\n" for line in looped(hypotheses)))
    plain, loop = ("{a}", loops)
    for systems, warned in (((plain, plain, loop), True), ((loop, loop, loop), False), ((loop, plain, plain), False)):
        baseline, control, tuned = systems
        compared("--baseline", baseline, "--control", control, "--system", f"tuned={tuned}")
        judged = capsys.readouterr().out.rstrip().splitlines()[-1]
        assert cli.main(["report", "--runs", str(tmp_path), "--output", str(tmp_path / "report.html")]) == 0
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert ("signs of a collapse that the control does not show. tuned: " in page) == warned
        assert ('<td class="alarm">' in page) == warned
        assert (": does not hold for tuned (" in judged and "points higher)" in judged) == warned
        assert (": holds for tuned." in judged) == (not warned)
        assert ("Weak models even without fine-tuning" in page) == (baseline == loop)


@pytest.mark.parametrize(
    "baseline, same, options",
    [
        ("{a}", "{a}", []),
        ("{a}", "{a}", ["--moverscore-idf"]),
        ("{a},{a},{a}", "{a},{a},{a}", []),
        ("{a},{b},{c}", "{a},{b},{c}", ["--paired-runs"]),
        ("{a}", "{a},{a}", ["--paired-runs"]),
        ("{a},{b},{c}", "{c},{a},{b}", []),
    ],
)
def test_identical_systems_do_not_differ(baseline, same, options, compared):
    comparison = compared("--baseline", baseline, "--system", f"same={same}", "--system", "other={c}", *options)
    for metric in results.HEADLINE:
        test = comparison.test("same", "baseline", metric)
        assert (test.difference, test.p_bootstrap, test.p_randomization) == (0, 0.5, 0.5)
        assert test.p_runs in (None, 0.5) and test.mark(comparison.level) == ""
        assert tuple(test.interval) == (0, 0)
        assert comparison.test("other", "baseline", metric).difference != 0


@pytest.mark.parametrize("change", [str.upper, lambda line: f" {line.replace(' ', '  ')} "], ids=["case", "spaces"])
def test_what_is_the_same_to_bleu_has_no_p_of_sacrebleus(change, minilm, real_pairs, write):
    """It would be the smallest that there is, at a difference of 0."""
    hypotheses, references = (side[:40] for side in real_pairs)
    texts = {
        "ref": references,
        "a": hypotheses,
        "b": list(map(change, hypotheses)),
        "c": [line[:-9] for line in hypotheses],
    }
    files = {name: write(name, "".join(f"{line}\n" for line in lines)) for name, lines in texts.items()}
    outputs = {name: [files[name]] for name in "abc"}
    comparison = compare([files["ref"]], outputs, Evaluator(minilm, 5, lowercase=True), baseline="a", resamples=1000)
    same, other = (comparison.test(name, "a", "bleu") for name in "bc")
    assert (same.difference, same.p, same.p_sacrebleu) == (0, 0.5, {})
    assert other.difference < 0 and set(other.p_sacrebleu) == {"bootstrap", "randomization"}


def test_a_bleu_of_0_has_no_p_of_sacrebleus(minilm, real_pairs, write):
    """multi-bleu's, of lines that are too short for four words in a row."""
    references = real_pairs[1][:40]
    texts = {
        "ref": references,
        "a": [line.split()[0] for line in references],
        "b": [line.split()[1] for line in references],
    }
    files = {name: write(name, "".join(f"{line}\n" for line in lines)) for name, lines in texts.items()}
    outputs = {name: [files[name]] for name in "ab"}
    comparison = compare([files["ref"]], outputs, Evaluator(minilm, 5, tokenized=True), baseline="a", resamples=1000)
    test = comparison.test("b", "a", "bleu")
    assert (test.difference, test.p_sacrebleu) == (0, {}) and comparison.test("b", "a", "f_bert").difference != 0


def test_systems_tie_where_they_share_outputs(compared):
    comparison = compared("--baseline", "{a}", "--system", "mostly={b}")
    for metric in results.HEADLINE:
        before, after = (comparison.system(name).runs[0].sentences[metric] for name in ("baseline", "mostly"))
        differ = [i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
        assert differ and set(differ) <= set(range(30, 50))
        assert before[50:90] == before[100:], "the sentences that stand twice"


class TestUnknown:
    """fairseq's <unk> in a translation, <<unk>> in a target: the same token to a language model, nothing to BLEU."""

    generated = "".join(
        f"T-{i}\tthe <<unk>> is {color} .\nH-{i}\t-1\tthe <unk> is {color} .\n"
        for i, color in enumerate(["blue", "red"])
    )
    snowmen = "the ☃ is blue.\nthe ☃ is red.\n"

    def scores(self, minilm, capsys, reference, system, *options) -> dict[str, float]:
        line = [
            "score",
            "--lm",
            minilm,
            "--layer",
            "5",
            "--json",
            "--lowercase",
            *options,
            "--reference",
            reference,
            system,
        ]
        assert cli.main(line) == 0
        (runs,) = json.loads(capsys.readouterr().out)["systems"].values()
        return runs[0]["scores"]

    def test_it_is_what_the_language_model_does_not_know(self, minilm, write, capsys):
        scores = self.scores(minilm, capsys, write("ref", self.snowmen), write("gen", self.generated))
        assert [scores[name] for name in ("f_bert", "moverscore")] == pytest.approx([100, 100], abs=1e-4)
        assert scores["length_ratio"] == 1 and scores["bleu"] < 70

    def test_the_targets_unknown_is_another(self, minilm, write, capsys):
        path = write("gen", self.generated)
        scores = self.scores(minilm, capsys, path, path)
        assert [scores[name] for name in ("f_bert", "moverscore")] == pytest.approx([100, 100], abs=1e-4)
        # Of five words each four are right; the sentences without that word have no character more in common.
        one, other = ["the A is blue.", "the A is red."], ["the B is blue.", "the B is red."]
        assert scores["bleu"] == sacrebleu.corpus_bleu(one, [other]).score
        assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(one, [other]).score)
        assert scores["ter"] == sacrebleu.corpus_ter(one, [other]).score
        assert (scores["length_ratio"], scores["repeated"], scores["distinct"]) == (1, 0, 100)

    @pytest.mark.parametrize("reference", ["gen", "ref"])
    def test_words_as_they_stand(self, reference, minilm, write, capsys):
        path = write("gen", self.generated)
        reference = path if reference == "gen" else write("ref", self.snowmen)
        scores = self.scores(minilm, capsys, reference, path, "--tokenized")
        assert scores["bleu"] == 0 and scores["length_ratio"] == 1, "no four words in a row"


def test_seeds_repeat_the_tests(minilm, files):
    evaluator = Evaluator(minilm, 5, lowercase=True)
    outputs = {"baseline": [files["fair"]], "x": [files["good"]]}
    first, same, other = (
        compare([files["ref"]], outputs, evaluator, baseline="baseline", seed=seed, resamples=1000).tests
        for seed in (7, 7, 8)
    )
    assert first == same != other


def test_score_prints_a_row_for_each_system(bertloss, capsys):
    assert bertloss("score", "{fair}", "many={good},{good}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines[:4]}) == 1 and "MoverScore" in lines[0]
    assert lines[3].startswith("| many") and " ± 0.00 " in lines[3] and "±" not in lines[2]
    assert sum(line.startswith(("BLEU ", "chrF ", "TER ", "F_BERT ", "MoverScore ")) for line in lines) == 5


def test_compare_as_json(bertloss, files, capsys):
    assert bertloss("compare", "--baseline", "{fair}", "--system", "x={good}", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    expected = sacrebleu.corpus_bleu(GOOD, [REFERENCES], lowercase=True).score
    assert [system["name"] for system in printed["systems"]] == ["baseline", "x"]
    assert printed["systems"][1]["scores"]["bleu"]["mean"] == expected
    assert {test["metric"] for test in printed["systems"][1]["tests"]} == set(results.HEADLINE)


def test_score_as_json(bertloss, files, capsys):
    assert bertloss("score", "x={good}", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    (run,) = printed["systems"]["x"]
    assert run["file"] == files["good"] and set(run["scores"]) == set(results.METRICS)
    assert run["scores"]["bleu"] == sacrebleu.corpus_bleu(GOOD, [REFERENCES], lowercase=True).score


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["score", "a={good}", "a={fair}"], "two systems have the name 'a'"),
        (["score", "missing"], "cannot read missing"),
        (["compare", "--baseline", "{fair}", "--system", "{good}"], "has no name: give NAME=FILE"),
        (["compare", "--baseline", "x={fair}", "--system", "x={good}"], "two systems have the name 'x'"),
        (
            ["compare", "--baseline", "{fair}", "--system", "x={good}", "--resamples", "999"],
            "--resamples must be at least 1000",
        ),
        (["compare", "--baseline", "{fair}", "--system", "x={good}", "--level", "1"], "--level must lie between"),
        (["compare", "--baseline", "{fair}", "--system", "x={good},gone"], "cannot read gone"),
        (
            ["compare", "--baseline", "{fair},{poor}", "--system", "x={good},{fair},{fair}", "--paired-runs"],
            "--paired-runs needs one file of a system, or as many as of the others, in the same order of seeds: "
            "baseline has 2, x has 3",
        ),
        (["compare", "--baseline", "{fair}", "--system", "x={other}"], "has 39 sentences and the reference"),
        (["compare", "--baseline", "{fair}", "--system", "x={shifted}"], "is of another test set than"),
        (["compare", "--baseline", "{fair}", "--system", "x={good},"], "names no file, or has a comma too many"),
        (["compare", "--baseline", "{fair}", "--system", "x={pieces}"], "no piece of the language model"),
        (["compare", "--baseline", "{fair}", "--system", "x={empty}"], "is empty"),
        (["compare", "--baseline", "{fair}", "--system", "x={latin1}"], "latin1:2: not UTF-8"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, bertloss, files, write, tmp_path, capsys):
    files |= {
        "other": write("other", "\n".join(GOOD[1:])),
        "shifted": write("shifted", "\n".join(GOOD[1:] + GOOD[:1])),
        "empty": write("empty", ""),
        "pieces": write("pieces", "".join(f"H-{i}\t-1\tĠthe Ġdog\n" for i in range(len(GOOD)))),
        "latin1": write("latin1", b"one\n\xe9\n"),
    }
    path = tmp_path / "comparison.json"
    output = ["--output", str(path)] if arguments[0] == "compare" else []
    assert bertloss(*arguments, *output) == 2
    out, error = capsys.readouterr()
    assert out == "" and not path.exists()
    assert error.startswith("bertloss: error: ") and error.count("\n") == 1 and message in error


def test_an_output_that_cannot_be_written_is_found_first(bertloss, capsys):
    assert bertloss("compare", "--baseline", "{fair}", "--system", "x={good}", "--output", "no/such/c.json") == 2
    assert capsys.readouterr().err == "bertloss: error: no/such/c.json: there is no folder no/such; make it first\n"


def test_no_such_language_model(bertloss, tmp_path, capsys):
    assert bertloss("score", "{good}", lm=str(tmp_path / "nowhere")) == 2
    assert "cannot load the language model's tokenizer" in capsys.readouterr().err


class TestScore:
    """What `bertloss score` reads and prints beside its table."""

    def test_standard_input(self, bertloss, files, monkeypatch, capsys):
        assert bertloss("score", "good={good}") == 0
        expected = capsys.readouterr().out
        with open(files["good"], "rb") as file:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
            assert bertloss("score", "good=-") == 0
        assert capsys.readouterr().out == expected

    def test_standard_input_has_a_name(self, bertloss, monkeypatch, capsys):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
        assert bertloss("score", "-") == 2
        assert capsys.readouterr().err.startswith("bertloss: error: standard input has 2 sentences")

    def test_standard_input_that_is_closed(self, bertloss, monkeypatch, capsys):
        monkeypatch.setattr("sys.stdin", None)
        assert bertloss("score", "-") == 2
        assert "standard input, which is closed" in capsys.readouterr().err

    def test_standard_input_is_read_once(self, bertloss, capsys):
        assert bertloss("score", "a=-", "b=-") == 2
        assert "can be read only once" in capsys.readouterr().err

    def test_gzip(self, bertloss, files, tmp_path, capsys):
        with open(files["good"], "rb") as file:
            packed = gzip.compress(file.read())
        (tmp_path / "good.gz").write_bytes(packed)
        assert bertloss("score", "--json", "good={good}") == 0
        expected = json.loads(capsys.readouterr().out)["systems"]["good"][0]["scores"]
        assert bertloss("score", "--json", str(tmp_path / "good.gz")) == 0
        ((run,),) = json.loads(capsys.readouterr().out)["systems"].values()
        assert run["scores"] == expected
        (tmp_path / "cut.gz").write_bytes(packed[:-9])
        assert bertloss("score", str(tmp_path / "cut.gz")) == 2
        assert "damaged or truncated gzip file" in capsys.readouterr().err

    def test_sentence_level(self, bertloss, files, capsys):
        assert bertloss("score", "--json", "--sentence-level", "a b={fair},{good}") == 0
        runs = json.loads(capsys.readouterr().out)["systems"]["a b"]
        assert bertloss("score", "--sentence-level", "a b={fair},{good}") == 0
        head, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
        assert head == ["system", "run", "line", *results.HEADLINE]
        assert len(rows) == 2 * len(REFERENCES) and {row[0] for row in rows} == {"a b"}
        for row in rows:
            scores = runs[int(row[1]) - 1]["sentences"]
            assert row[3:] == [f"{scores[name][int(row[2]) - 1]:.4f}" for name in results.HEADLINE]

    def test_batch_size_and_device(self, bertloss, capsys):
        assert bertloss("score", "--json", "good={good}") == 0
        expected = json.loads(capsys.readouterr().out)["systems"]["good"][0]["scores"]
        assert bertloss("score", "--json", "--batch-size", "3", "--device", "cpu", "good={good}") == 0
        assert json.loads(capsys.readouterr().out)["systems"]["good"][0]["scores"] == pytest.approx(expected, abs=1e-4)

    @pytest.mark.parametrize(
        "arguments, message",
        [
            (["--batch-size", "0"], "--batch-size must be at least 1"),
            (["--device", "abc"], "--device abc cannot be"),
            (["--device", "meta"], "--device meta cannot be"),
        ],
    )
    def test_bad_batch_size_and_device(self, bertloss, capsys, arguments, message):
        assert bertloss("score", *arguments, "{good}") == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "argument, name, files",
    [
        ("a,b.out", None, ["a,b.out"]),
        ("x=a,b.out,e.out", "x", ["a,b.out", "e.out"]),
        ("c=d.out", None, ["c=d.out"]),
        ("c=d.out,e.out", None, ["c=d.out", "e.out"]),
        ("y=c=d.out", "y", ["c=d.out"]),
        ("y=e.out,-", "y", ["e.out", "-"]),
        ("z=absent,gone", "z", ["absent", "gone"]),
        ("-", None, ["-"]),
    ],
)
def test_names_and_files(argument, name, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for own in ("a,b.out", "c=d.out", "e.out"):
        (tmp_path / own).touch()
    assert named_files(argument) == (name, files)
