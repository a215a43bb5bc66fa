"""Bad systems, language models, checkpoints and results for the commands that evaluate: an error in one line."""

import shutil

import pytest
from bad_input import (
    COMPARE,
    CURVE,
    ENTROPY,
    REPORT,
    SCORE,
    SPLIT,
    both,
    check_one_line,
    config,
    gpt2,
    here,  # noqa: F401, a fixture
    malicious,
    malicious_zip,
    pickled_weights,
    remove,
    socket_file,
    truncated_weights,
    without_room,
    write,
)

CASES = {
    "missing hypotheses": (SCORE, remove("hyp.txt"), "cannot read hyp.txt: No such file"),
    "fewer hypotheses": (
        SCORE,
        write("hyp.txt", "a man\n"),
        "hyp.txt has 1 sentences and the reference ref.txt has 2; both must be of one test set",
    ),
    "hypotheses in Latin-1": (SCORE, write("hyp.txt", "a man\ncaf\u00e9\n".encode("latin-1")), "hyp.txt:2: not UTF-8"),
    "missing references": (SCORE, remove("ref.txt"), "cannot read ref.txt: No such file"),
    "hypotheses are a folder": (SCORE.replace("hyp.txt", "text"), None, "cannot read text: Is a directory"),
    "hypotheses are a socket": (SCORE, socket_file("hyp.txt"), "cannot read hyp.txt: No such device or address"),
    "nothing to score": (SCORE, both(write("hyp.txt", ""), write("ref.txt", "")), "ref.txt is empty"),
    "fewer references in a second file": (
        SCORE + " --reference ref2.txt",
        write("ref2.txt", "a man\n"),
        "ref2.txt has 1 references and ref.txt has 2; each file needs a line for every sentence, blank where",
    ),
    "more references in a second file": (
        CURVE + " --reference ref2.txt",
        both(write("model.pt", "x"), write("ref2.txt", "a man\n" * 3)),
        "ref2.txt has 3 references and ref.txt has 2; each file needs a line for every sentence, blank where",
    ),
    "a second file of references that is missing": (
        COMPARE + " --reference ref2.txt",
        None,
        "cannot read ref2.txt: No such file",
    ),
    "cut output of fairseq-generate": (
        SCORE,
        write("hyp.txt", "S-0\tein Mann\nT-0\ta man\nH-0\t-0.5\n"),
        "hyp.txt has 3 sentences and the reference ref.txt has 2",
    ),
    "layer 99": (
        SCORE.replace("layer 2", "layer 99"),
        None,
        "the language model 'lm' has layers 0 .* to 3, no layer 99",
    ),
    "layer -1": (SCORE.replace("layer 2", "layer -1"), None, "has layers 0 .* to 3, no layer -1"),
    "no layer for an unknown model": (
        SCORE.replace("--layer 2", ""),
        None,
        "bert-score names no scoring layer for 'lm': choose one .*--layer N",
    ),
    "truncated weights": (
        SCORE,
        truncated_weights,
        "cannot load the language model's weights from 'lm': .*the folder must hold",
    ),
    "weights in a pickle": (SCORE, pickled_weights, "cannot load the language model's weights from 'lm'"),
    "broken config": (SCORE, write("lm/config.json", "{"), "'lm/config.json' is not a valid JSON file"),
    "unknown family": (
        SCORE,
        config(model_type="madeup"),
        "cannot load the language model's configuration from 'lm': .*`madeup`",
    ),
    "code of its own": (
        SCORE,
        both(
            config(model_type="madeup", auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.M"}),
            write("lm/evil.py", "open('made-by-code', 'w')"),
        ),
        "cannot load the language model's configuration from 'lm': .*custom code",
    ),
    "decoder only": (
        SCORE,
        gpt2,
        "the language model 'lm' .gpt2. is not built like BERT: choose an encoder such as BERT",
    ),
    "no room for a sentence": (
        SCORE,
        without_room,
        "the language model 'lm' has 2 positions, .* choose another language model",
    ),
    "no room for a sentence, for BERTScore alone": (
        SCORE + " --moverscore-lm moverscore-lm",
        both(lambda h: shutil.copytree(h / "lm", h / "moverscore-lm"), without_room),
        "the language model 'lm' has 2 positions, .* choose another language model",
    ),
    "a name twice": (COMPARE + " --system new=hyp.txt", None, "two systems have the name 'new'"),
    "level 0": (COMPARE + " --level 0", None, "--level must lie between 0 and 0.5, not 0.0"),
    "no resamples": (COMPARE + " --resamples 0", None, "--resamples must be at least 1000 for --level 0.01, not 0"),
    "system without a name": (
        COMPARE.replace("new=hyp2.txt", "hyp2.txt"),
        None,
        "--system hyp2.txt has no name: give NAME=FILE",
    ),
    "missing run": (
        COMPARE.replace("new=hyp2.txt", "new=hyp2.txt,hyp3.txt"),
        None,
        "cannot read hyp3.txt: No such file",
    ),
    "no report's comparison": (
        REPORT,
        lambda h: (h / "runs").mkdir(),
        "there is no comparison in runs/comparison.json: write it with `bertloss compare",
    ),
    "broken comparison": (
        REPORT,
        write("runs/comparison.json", "{"),
        "cannot read runs/comparison.json: Expecting property name",
    ),
    "another comparison": (
        REPORT,
        write("runs/comparison.json", '{"systems": 5}'),
        "runs/comparison.json holds no results of the kind 'Comparison'",
    ),
    "no checkpoint": (ENTROPY, write("generated.out", "x"), "there is no checkpoint model.pt"),
    "broken checkpoint": (
        ENTROPY,
        both(write("model.pt", b"x" * 100), write("generated.out", "S-0\ta\nH-0\t-1\ta\nP-0\t-1 -1\n")),
        "model.pt is not a checkpoint of fairseq-train: it is damaged, or no file of torch's",
    ),
    "malicious checkpoint": (
        ENTROPY,
        both(malicious("model.pt"), write("generated.out", "S-0\ta\nH-0\t-1\ta\nP-0\t-1 -1\n")),
        "model.pt is not a checkpoint of fairseq-train: ",
    ),
    "malicious new checkpoint": (
        ENTROPY,
        both(malicious_zip("model.pt"), write("generated.out", "S-0\ta\nH-0\t-1\ta\nP-0\t-1 -1\n")),
        "model.pt cannot be read: torch's safe loader refuses .*(?:getattr|touch|pathlib)",
    ),
    "data that fairseq splits": (CURVE.replace("data", "da:ta"), None, SPLIT.format("da:ta")),
    "baseline that fairseq splits": (CURVE.replace("model.pt", "mo:del.pt"), None, SPLIT.format("mo:del.pt")),
    "run that fairseq splits": (CURVE.replace("a=runs", "a=ru:ns"), None, SPLIT.format("ru:ns")),
    "entropy's data that fairseq splits": (ENTROPY.replace("data", "da:ta"), None, SPLIT.format("da:ta")),
    "no run folder": (
        CURVE,
        write("model.pt", "x"),
        "runs has no checkpoints from before the end of training: train with --save-interval-updates N",
    ),
    "run without a name": (
        CURVE.replace("a=runs", "runs"),
        write("model.pt", "x"),
        "--run runs has no name: give NAME=SAVE_DIR",
    ),
    "run without checkpoints": (
        CURVE,
        both(write("model.pt", "x"), write("runs/log", "x")),
        "runs has no checkpoints from before the end of training: train with --save-interval-updates N",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line(case, here, capfd):
    check_one_line(*CASES[case], here, capfd)
