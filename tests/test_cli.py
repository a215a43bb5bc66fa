"""cli.py: arguments in, exit status and one-line errors out; the work is tested where it is done."""

import subprocess
import sys

import pytest
from fairseq.data import Dictionary

from fairseq_bertloss import cli
from fairseq_bertloss.commands import preprocess


def test_vocabulary_writes_a_dictionary_for_fairseq(minilm, tmp_path, capsys):
    path = tmp_path / "dict.txt"
    assert cli.main(["vocabulary", "--lm", minilm, "--output", str(path)]) == 0
    assert len(Dictionary.load(str(path))) == 30522
    assert "30518 symbols" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["vocabulary", "--lm", "{tmp}", "--output", "x"], "cannot load the language model's tokenizer"),
        (["homeassistant", "{tmp}/no.whl", "--source-lang", "de", "--target-lang", "en", "--destdir", "x"], "no.whl"),
        (
            ["prepare", "--source", "a", "--target", "b", "--valid-source", "c", "--lm", "m", "--source-lang", "de"]
            + ["--target-lang", "en", "--destdir", "x"],
            "--valid-source and --valid-target go together",
        ),
        (
            ["prepare", "--source", "{tmp}/a.de", "--target", "b", "--lm", "m", "--source-lang", "de"]
            + ["--target-lang", "en", "--destdir", "x"],
            "a.de",
        ),
    ],
)
def test_user_errors_are_one_line_and_status_2(arguments, message, tmp_path, capsys):
    assert cli.main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("bertloss: error: ") and error.count("\n") == 1 and message in error


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(ValueError, match="cannot load"):
        cli.main(["--debug", "vocabulary", "--lm", str(tmp_path), "--output", "x"])


@pytest.mark.parametrize("arguments", [[], ["prepare"], ["unheard-of"]])
def test_wrong_usage_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2 and "usage: bertloss" in capsys.readouterr().err


def test_interrupt_is_quiet(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(preprocess, "run_vocabulary", interrupted)
    assert cli.main(["vocabulary", "--lm", "x", "--output", "x"]) == 130
    assert capsys.readouterr() == ("", "")


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from fairseq_bertloss import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: sys.exit(bool({'torch', 'transformers', 'fairseq', 'tqdm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and "prepare" in done.stdout
