"""cli.py: arguments in, exit status and one-line errors out; the work is tested where it is done."""

import argparse
import importlib.metadata
import shlex
import subprocess
import sys

import pytest
from fairseq.data import Dictionary

import fairseq_bertloss
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


def commands():
    """The parser of each subcommand, by its name."""
    parser = cli.argument_parser()
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return subparsers.choices


@pytest.mark.parametrize("name", commands())
def test_help_says_what_comes_in_what_comes_out_and_an_example(name, capsys):
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    printed = capsys.readouterr().out
    assert all(f"\n{label} " in printed for label in ("reads: ", "writes:"))
    program, *arguments = shlex.split(printed.partition("\nexample:\n")[2])
    assert program == "bertloss" and arguments[0] == name
    args = cli.argument_parser().parse_args(arguments)
    assert args.run.__name__ == f"run_{name}"


def test_what_only_the_quickstart_needs_is_not_listed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    assert "homeassistant" not in printed and "homeassistant" in commands()
    listed = [line.split()[0] for line in printed.partition("COMMAND\n")[2].splitlines() if line[4:5].strip()]
    assert listed == [name for name in commands() if name != "homeassistant"]


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"bertloss {fairseq_bertloss.__version__}\n"
    assert importlib.metadata.version("fairseq-bertloss") == fairseq_bertloss.__version__


def test_quiet_leaves_results_and_errors(minilm, tmp_path, capsys):
    path = tmp_path / "dict.txt"
    assert cli.main(["vocabulary", "--quiet", "--lm", minilm, "--output", str(path)]) == 0
    assert path.exists() and capsys.readouterr().err == ""
    assert cli.main(["vocabulary", "--quiet", "--lm", minilm, "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("bertloss: error: ")
    assert cli.main(["vocabulary", "--lm", minilm, "--output", str(path)]) == 0
    assert "symbols" in capsys.readouterr().err
