"""Tasks and models of fairseq: what the criterion can train is trained, the rest is refused in one line."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.distributed import ModuleProxyWrapper
from test_criterion import PIECES, build, make_sample  # noqa: F401, build is a fixture
from torch import nn
from training import logged, train

from fairseq_bertloss.training.generation import _generated
from fairseq_bertloss.training.suitable import check_task, target_language

SIMPLE_EPOCH = ["--task", "translation_multi_simple_epoch", "--langs", "de,en", "--lang-pairs", "de-en"]

LANGTOK = "leave out --decoder-langtok, and the second of each pair in --langtoks: a language's symbol is no piece"


def criterion_options(lm):
    return ["--criterion", "bertscore_loss", "--bert-model", lm, "--bert-layer", "2", "--max-update", "2"]


def test_a_task_without_cfg_trains(corpus, tiny_lm, tmp_path):
    risk = [*criterion_options(tiny_lm("bert")), "--objective", "risk"]
    done = train(corpus, tmp_path, *risk, *SIMPLE_EPOCH, "--eval-f-bert")
    updates, validations = logged(done, "train_inner"), logged(done, "valid")
    assert len(updates) == 2 and all(update["f_expected"] > 0 for update in updates)
    assert [record["valid_num_updates"] for record in validations][:2] == [0, 1]
    assert all(record["valid_f_bert"] > 0 for record in validations)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([*SIMPLE_EPOCH, "--decoder-langtok"], LANGTOK),
        ([*SIMPLE_EPOCH, "--langtoks", '{"main": ["src", "tgt"]}'], LANGTOK),
        ([*SIMPLE_EPOCH, "--langtoks", '{"main": [None, "tgt"], "mined": ("src.mined", None)}'], LANGTOK),
        ([*SIMPLE_EPOCH, "--langtoks", '{"mined": (None, "tgt.mined")}'], LANGTOK),
        (["--task", "translation_lev"], "do not predict from left to right: take --task translation"),
        (["--task", "translation_from_mbart", "--langs", "de,en"], "ends sentences with a language's symbol"),
        (["--task", "translation_from_pretrained_bart", "--langs", "de,en"], "take --task translation_from_mbart"),
    ],
)
@pytest.mark.parametrize("objective", ["soft", "risk"])
def test_tasks_that_cannot_be_trained(build, arguments, objective, message):  # noqa: F811
    with pytest.raises(ValueError, match=message):
        build(*arguments, "--objective", objective, *(["--candidates-as", "pieces"] if objective == "risk" else []))


def test_a_model_for_each_language(corpus, tiny_lm, tmp_path):
    done = train(corpus, tmp_path, *criterion_options(tiny_lm("bert")), "--task", "multilingual_translation",
                 "--lang-pairs", "de-en", "--arch", "multilingual_transformer", check=False)  # fmt: skip
    assert done.returncode != 0
    last = (done.stdout + done.stderr).splitlines()[-1]
    assert "MultilingualTranslationTask has a model and a dictionary for each language" in last


class Wrapper(nn.Module):
    """One that nobody knows."""

    def __init__(self, model):
        super().__init__()
        self.module, self.encoder, self.decoder = model, model.encoder, model.decoder

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


WRAPPED = [lambda model: model, lambda model: ModuleProxyWrapper(nn.DataParallel(model)), Wrapper]


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("objective", ["soft", "risk"])
def test_models_that_do_not_go_from_left_to_right(build, objective, wrap):  # noqa: F811
    criterion, network, task = build("--objective", objective, "--arch", "nonautoregressive_transformer")
    with pytest.raises(ValueError, match="cannot train a NATransformerModel: take --task translation and a model that"):
        criterion(wrap(network), make_sample(task, PIECES))


@pytest.mark.parametrize("wrap", WRAPPED)
def test_a_wrapper_is_not_in_the_way_of_a_model_that_can_be_trained(build, wrap):  # noqa: F811
    criterion, network, task = build("--soft-prediction", "softmax")
    sample = make_sample(task, PIECES)
    torch.testing.assert_close(criterion(wrap(network), sample)[0], criterion(network, sample)[0])


def test_a_model_of_a_kind_of_its_own_is_not_judged(build):  # noqa: F811
    criterion, network, task = build("--soft-prediction", "softmax")
    sample = make_sample(task, PIECES)
    own = Wrapper(network)
    del own.module
    own.forward = network.forward
    torch.testing.assert_close(criterion(own, sample)[0], criterion(network, sample)[0])


def test_a_translation_begins_with_no_word_of_its_reference():
    """Of data without languages' symbols beside data with them."""
    dictionary = Dictionary()
    tag, mined, word = [dictionary.add_symbol(symbol) for symbol in ("__en__", "__en_mined__", "word")]
    langtoks = {"main": ("src", "tgt"), "mined": ("src", None)}
    args = SimpleNamespace(langtoks=langtoks, lang_tok_replacing_bos_eos=False)
    task = SimpleNamespace(langs=["de", "en"], args=args, target_dictionary=dictionary)
    task.inference_step = lambda generator, models, sample, prefix_tokens: prefix_tokens.tolist()
    pad, unknown = dictionary.pad(), dictionary.unk()
    target = torch.tensor([[tag, word, 2], [pad, mined, 2], [word, word, 2], [unknown, word, 2]])
    assert _generated(task, None, None, {"target": target}) == [[tag], [mined], [pad], [pad]]


def test_a_task_without_a_target_dictionary():
    with pytest.raises(ValueError, match="SimpleNamespace has no target dictionary"):
        check_task(SimpleNamespace(target_dictionary=None))


def test_the_target_language():
    config, none = SimpleNamespace(target_lang="en"), SimpleNamespace(target_lang=None)
    assert (
        target_language(SimpleNamespace(cfg=config)) == target_language(SimpleNamespace(cfg=None, args=config)) == "en"
    )
    assert target_language(SimpleNamespace(cfg=None, args=none, target_langs=["tr", "tr"])) == "tr"
    assert target_language(SimpleNamespace(cfg=None, args=none, target_langs=["tr", "en"])) is None
