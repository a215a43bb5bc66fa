"""Validation by translation, through fairseq-train: its figures are those of fairseq-generate and bert-score."""

import re
import socket
from types import SimpleNamespace

import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import ModuleProxyWrapper
from training import MODELS, bertscore, fairseq, logged, start, train
from waiting import HANG

import fairseq_bertloss.training.criterion  # noqa: F401, registers bertscore_loss
from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes
from fairseq_bertloss.evaluation.moverscore import MoverScorer

allow_fairseq_classes()

CROSS_ENTROPY = ["--cross-entropy-weight", "1", "--label-smoothing", "0.1"]
# An update is an epoch. After twelve nothing is learned, so that the scores stay as they are.
SCHEDULE = ["--lr", "1e-2", "--force-anneal", "13", "--lr-shrink", "1e-20", "--max-update", "60"]
BEST = ["--best-checkpoint-metric", "f_bert", "--maximize-best-checkpoint-metric", "--patience", "2"]


@pytest.fixture(scope="module")
def criterion_options(tiny_lm) -> list[str]:
    return [*bertscore(tiny_lm("bert")), "--objective", "soft"]


@pytest.fixture(scope="module")
def trained(corpus, criterion_options, tmp_path_factory):
    """A model that has learned a little, and was stopped for want of better translations."""
    folder = tmp_path_factory.mktemp("trained")
    done = train(corpus, folder, *criterion_options, *CROSS_ENTROPY, "--eval-f-bert", "--eval-moverscore", *SCHEDULE,
                 *BEST, "--validate-interval", "6")  # fmt: skip
    return SimpleNamespace(done=done, checkpoint=folder / "checkpoint_last.pt", valid=logged(done, "valid"))


@pytest.fixture(scope="module")
def generated(corpus, trained, tiny_lm) -> SimpleNamespace:
    """The trained model's translations of the validation set, with the unknown symbol as bert-score reads it."""
    done = fairseq("generate", corpus, "--path", trained.checkpoint, "--cpu", "--gen-subset", "valid",
                   "--batch-size", "4", "--required-batch-size-multiple", "1",
                   "--tokenizer", "word_pieces", "--word-pieces-lm", tiny_lm("bert"),
                   "--scoring", "moverscore", "--moverscore-lm", tiny_lm("bert"))  # fmt: skip
    output = re.sub("<?<unk>>?", "[UNK]", done.stdout)
    translations = dict(re.findall(r"^D-(\d+)\t\S+\t(.*)$", output, re.M))
    references = dict(re.findall(r"^T-(\d+)\t(.*)$", output, re.M))
    assert len(translations) == 6 and len(set(translations.values())) > 1
    return SimpleNamespace(
        translations=list(translations.values()), references=[references[i] for i in translations], output=done.stdout
    )


def test_scores_are_bert_scores_of_what_fairseq_generate_prints(trained, generated, tiny_lm):
    import bert_score

    lm = tiny_lm("bert")
    by_hand = bert_score.score(generated.translations, generated.references, model_type=lm, num_layers=2)
    valid = trained.valid[-1]
    for name, values in zip(("p_bert", "r_bert", "f_bert"), by_hand, strict=True):
        assert valid[f"valid_{name}"] == pytest.approx(100 * values.mean().item(), abs=1e-2)
        assert abs(valid[f"valid_{name}"] - valid[f"valid_{name}_forced"]) > 0.1
    scores = MoverScorer(lm).score(generated.translations, generated.references)
    mean = 100 * sum(scores) / len(scores)
    (printed,) = re.findall(r"MoverScore = (\d+\.\d\d) \(", generated.output)
    for figure in (valid["valid_moverscore"], float(printed)):
        assert figure == pytest.approx(mean, abs=0.0051)  # two digits, and what batches round
    assert (
        f"f_bert by beam search is {'/'.join(lm.split('/')[-2:])}_L2_no-idf"
        in trained.done.stderr + trained.done.stdout
    )


def test_patience_stops_on_the_translations(trained):
    before, *scores = [record["valid_f_bert"] for record in trained.valid]
    assert trained.valid[0]["valid_num_updates"] == 0 and before != scores[0]
    assert "early stop since valid performance hasn't improved" in trained.done.stdout + trained.done.stderr
    assert len(scores) < 10 and max(scores) == scores[-3] >= max(scores[-2:])
    best = torch.load(trained.checkpoint)["extra_state"]["best"]
    assert best == max(scores) == trained.valid[-1]["valid_best_f_bert"]
    assert best not in [record["valid_f_bert_forced"] for record in trained.valid]


def test_training_is_that_of_label_smoothed_cross_entropy(corpus, trained, tmp_path):
    """The control run can be had with these metrics, and to translate in between changes nothing."""
    control = train(corpus, tmp_path, "--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1",
                    *SCHEDULE, "--disable-validation", "--max-update", "12")  # fmt: skip
    ours, theirs = (logged(done, "train_inner") for done in (trained.done, control))
    assert len(theirs) == 12 and len({update["nll_loss"] for update in theirs}) == 12
    for mine, its in zip(ours[:12], theirs, strict=True):
        for name, its_name in (("nll_loss", "nll_loss"), ("ce_loss", "loss"), ("gnorm", "gnorm")):
            assert mine[name] == pytest.approx(its[its_name], abs=2.1e-3)


def test_only_validation_translates(trained):
    for update in logged(trained.done, "train_inner"):
        assert "f_bert" in update and not update.keys() & {"moverscore", "f_bert_forced"}


def test_two_workers_log_what_one_logs(corpus, trained, criterion_options, tmp_path):
    """Three batches of two sentences: one worker gets a dummy at the end."""
    meeting = f"tcp://127.0.0.1:{_free_port()}"
    distributed = ["--distributed-world-size", "2", "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp",
                   "--distributed-no-spawn", "--distributed-init-method", meeting]  # fmt: skip
    line = ["--lr", "1e-30", "--no-save", "--batch-size", "2", "--max-update", "1", *criterion_options, *CROSS_ENTROPY,
            "--eval-f-bert", "--eval-moverscore", "--finetune-from-model", str(trained.checkpoint),
            *distributed]  # fmt: skip
    logs = [tmp_path / f"log-{rank}" for rank in (0, 1)]
    workers = [start(corpus, tmp_path, log, *line, "--distributed-rank", str(rank)) for rank, log in enumerate(logs)]
    for worker in workers:
        worker.join(timeout=HANG)
        worker.kill()  # one that waits for another which has failed
    outputs = [log.read_text(encoding="utf-8") for log in logs]
    assert [worker.exitcode for worker in workers] == [0, 0], "\n".join(output[-3000:] for output in outputs)
    first, last = logged(SimpleNamespace(stdout=outputs[0], stderr=""), "valid")
    assert (first["valid_num_updates"], last["valid_num_updates"]) == (0, 1)
    for name in ("f_bert", "p_bert", "r_bert", "moverscore", "f_bert_forced"):
        assert last[f"valid_{name}"] == pytest.approx(
            trained.valid[-1][f"valid_{name}"], abs=1.1e-2
        )  # the last digit logged
    for record in (first, last):
        for name in ("epoch", "valid_num_updates", "valid_wps", "valid_best_loss"):
            record.pop(name, None)
    assert first == last


# In one process.


@pytest.fixture
def build(corpus, criterion_options):
    """A function that builds criterion and model as fairseq-train does from its command line, in eval mode."""

    def build_from(*arguments):
        line = [str(corpus), *MODELS["transformer"].split(), *criterion_options, *arguments]
        cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
        torch.manual_seed(1)
        task = tasks.setup_task(cfg.task)
        return task.build_criterion(cfg.criterion).eval(), task.build_model(cfg.model).eval(), task

    return build_from


def make_sample(task, *targets: str) -> dict:
    """A batch with these targets, as the translation task collates it."""
    target = [task.target_dictionary.encode_line(line, add_if_not_exist=False).long() for line in targets]
    source = [task.source_dictionary.encode_line("zwei", add_if_not_exist=False).long() for _ in targets]
    dataset = task.build_dataset_for_inference(source, [len(line) for line in source])
    dataset.tgt, dataset.tgt_sizes = target, [len(line) for line in target]
    return dataset.collater([dataset[i] for i in range(len(source))])


@pytest.fixture
def translate(monkeypatch):
    """A function that makes the task's beam search give these translations."""

    def set_translations(task, *lines: str):
        ids = [task.target_dictionary.encode_line(line, add_if_not_exist=False).long() for line in lines]
        monkeypatch.setattr(task, "inference_step", lambda *args, **kwargs: [[{"tokens": line}] for line in ids])

    return set_translations


def test_unknown_and_empty(build, translate, tiny_lm):
    import bert_score

    criterion, network, task = build("--eval-f-bert")
    sample = make_sample(task, "the <unk> is on the ro ##of", "a house")
    translate(task, "the <unk> on the ro ##of", "")
    _, _, log = criterion(network, sample)
    *_, f1 = bert_score.score(["the [UNK] on the ro ##of".replace(" ##", "")], ["the [UNK] is on the roof"],
                              model_type=tiny_lm("bert"), num_layers=2)  # fmt: skip
    assert log["translated_f_bert"] == pytest.approx(f1.item(), abs=1e-5)
    assert log["translated_sentences"] == 2


def test_sentences_too_long_for_the_loss_count(build, translate):
    criterion, network, task = build("--eval-f-bert")
    long = " ".join(["the roof of a house"] * 25)
    translate(task, "the roof", long)
    _, sample_size, log = criterion(network, make_sample(task, "the roof", long))
    assert (sample_size, log["skipped"], log["translated_sentences"]) == (1, 1, 2)
    assert log["translated_f_bert"] == pytest.approx(2, abs=1e-4)
    _, _, usual = criterion(network, make_sample(task, "the roof", "the roof"))
    assert list(usual) == list(log), "workers add up their logs in this order"


def test_another_language_model_scores(build, translate, tiny_lm):
    import bert_score

    lm = tiny_lm("roberta")
    criterion, network, task = build(
        "--eval-f-bert", "--eval-moverscore", "--eval-bert-model", lm, "--eval-bert-layer", "1"
    )
    translate(task, "the ro ##of of a house")
    _, _, log = criterion(network, make_sample(task, "on the ro ##of <unk>"))
    texts = ["the roof of a house"], ["on the roof <unk>"]
    *_, f1 = bert_score.score(*texts, model_type=lm, num_layers=1)
    assert log["translated_f_bert"] == pytest.approx(f1.item(), abs=1e-5)
    assert log["translated_moverscore"] == pytest.approx(MoverScorer(lm).score(*texts)[0], abs=1e-5)


def test_a_wrapped_model_translates_like_the_model_itself(build):
    criterion, network, task = build("--eval-f-bert", "--eval-generation-args", '{"max_len_b": 10}')
    sample = make_sample(task, "the roof of a house")
    wrapped = ModuleProxyWrapper(torch.nn.DataParallel(network))
    assert criterion(wrapped, sample)[2]["translated_f_bert"] == criterion(network, sample)[2]["translated_f_bert"] > 0


def test_nothing_is_translated_without_the_option(build, monkeypatch):
    criterion, network, task = build()
    monkeypatch.setattr(task, "inference_step", None)
    _, _, log = criterion(network, make_sample(task, "the roof"))
    assert not [name for name in log if name.startswith("translated")]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--eval-generation-args", "beam"], "--eval-generation-args beam is not JSON"),
        (["--eval-generation-args", "[5]"], r"--eval-generation-args \[5\] is not a JSON object"),
        (["--eval-generation-args", '{"beams": 5}'], "'beams' not in 'GenerationConfig'; see fairseq-generate --help"),
        (["--eval-generation-args", '{"beam": "five"}'], "'five' of type 'str' could not be converted to Integer"),
        (["--eval-generation-args", '{"prefix_size": 1}'], "leave out 'prefix_size': it has no effect in training and"),
        (["--eval-bert-model", "/nowhere"], "cannot load the language model's tokenizer from '/nowhere'"),
        (["--eval-bert-layer", "4"], r"layers 0 \(its embeddings\) to 3, no layer 4"),
        (["--eval-bert-model", "TINY"], "names no scoring layer for"),
    ],
)
def test_bad_options(build, tiny_lm, arguments, message):
    with pytest.raises(ValueError, match=message):
        build("--eval-f-bert", *(argument.replace("TINY", tiny_lm("roberta")) for argument in arguments))


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
