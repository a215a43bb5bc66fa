"""Whoever has the language model in a folder, or has HF_HUB_OFFLINE set, makes no network call."""

import os
import subprocess
import sys

import huggingface_hub

HUB_VERSION = int(huggingface_hub.__version__.split(".")[0])
WATCHED = """
import socket, sys

def refused(*arguments, **options):
    print("NETWORK", arguments, file=sys.stderr)
    raise OSError("no network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refused
"""

LOSS = """
from fairseq_bertloss import BERTScoreLoss
from fairseq_bertloss.language_model.vocabulary import dictionary_symbols, load_tokenizer
symbols = ["<s>", "<pad>", "</s>", "<unk>", *dictionary_symbols(load_tokenizer({lm!r}))]
print("loaded", BERTScoreLoss.from_pretrained({lm!r}, symbols, 2).language_model.layer)
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"} | environment
    return subprocess.run([sys.executable, "-c", WATCHED + code], env=environment, capture_output=True, text=True)


def test_a_local_language_model_needs_no_network(tiny_lm):
    done = run(LOSS.format(lm=tiny_lm("bert")))
    assert done.stdout == "loaded 2\n", done.stderr
    assert "NETWORK" not in done.stderr


def test_scoring_with_a_local_language_model_needs_no_network(tiny_lm, tmp_path):
    (tmp_path / "text").write_text("a man\na dog\n", encoding="utf-8")
    text = str(tmp_path / "text")
    done = run(
        f"from fairseq_bertloss import cli; "
        f"sys.exit(cli.main(['score', '--reference', {text!r}, '--lm', {tiny_lm('bert')!r}, '--layer', '2', {text!r}]))"
    )
    assert done.returncode == 0 and "100.00" in done.stdout, done.stderr
    assert "NETWORK" not in done.stderr


def test_offline_a_hub_name_is_not_looked_up(tmp_path):
    done = run(
        "from fairseq_bertloss.language_model.vocabulary import load_tokenizer; load_tokenizer('bert-base-uncased')",
        HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path),
    )  # fmt: skip
    assert done.returncode != 0
    assert "cannot load the language model's tokenizer from 'bert-base-uncased'" in done.stderr
    assert "NETWORK" not in done.stderr


def test_without_a_network_the_hub_is_asked_once(tmp_path):
    """transformers itself would ask six times for each of three files, and wait in between."""
    done = run(
        "from fairseq_bertloss.language_model.vocabulary import load_tokenizer; load_tokenizer('bert-base-uncased')",
        HF_HOME=str(tmp_path),
    )  # fmt: skip
    assert done.returncode != 0
    assert "cannot load the language model's tokenizer from 'bert-base-uncased': We couldn't connect to" in done.stderr
    # By us, and once in a process by huggingface_hub 2 itself, for its list of agents.
    assert done.stderr.count("NETWORK") == 1 + (HUB_VERSION >= 2)


def test_the_watch_sees_a_call():
    done = run("import urllib.request; urllib.request.urlopen('http://localhost:9/')")
    assert done.returncode != 0 and "NETWORK" in done.stderr
