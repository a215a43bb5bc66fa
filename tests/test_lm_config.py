"""Which family a language model is of: config.json decides, wherever the folder lies."""

import json
import re
import shutil

import lms
import pytest
import torch
from transformers import AutoConfig, AutoModel, BertConfig, BertTokenizerFast, ElectraTokenizerFast

from fairseq_bertloss.language_model.frozen import FrozenLanguageModel, rescaling_baseline
from fairseq_bertloss.language_model.lm_config import BERT_KEYS, is_out_of_reach
from fairseq_bertloss.language_model.pretrained import encoder_config, load_encoder, scoring_layer
from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

FOLDERS = ["models/x", "albert/models/mnli-bert", "exp_t5/x", "roberta-distilbert/xlnet", "gpt2"]


def configured(folder, **changes) -> str:
    """Changes a folder's config.json; None takes a key away. Returns the folder."""
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return str(folder)


def as_google_had_it(folder, lm: str) -> str:
    """A BERT's folder as it was before transformers: configuration, pieces and weights, which name no family."""
    folder.mkdir(parents=True)
    config, tokenizer = AutoConfig.from_pretrained(lm).to_dict(), load_tokenizer(lm)
    google = {key: config[key] for key in BERT_KEYS} | {"directionality": "bidi", "pooler_fc_size": 768}
    (folder / "config.json").write_text(json.dumps(google))
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    torch.save(AutoModel.from_pretrained(lm).state_dict(), folder / "pytorch_model.bin")
    return str(folder)


@pytest.mark.parametrize("folder", FOLDERS)
def test_googles_configuration_is_a_berts(folder, tiny_lm, tmp_path):
    lm = as_google_had_it(tmp_path / folder, tiny_lm("bert"))
    assert type(encoder_config(lm)) is BertConfig and type(load_tokenizer(lm)) is BertTokenizerFast
    ours, its = (FrozenLanguageModel.from_pretrained(name, 2) for name in (lm, tiny_lm("bert")))
    embeddings, mask = its.embedding_table[None, 5:9], torch.ones(1, 4, dtype=torch.bool)
    assert torch.equal(ours(embeddings, mask), its(embeddings, mask))
    assert tokenize(load_tokenizer(lm), lms.TEXT) == tokenize(load_tokenizer(tiny_lm("bert")), lms.TEXT)


@pytest.mark.parametrize("architectures", [["BertModel"], None])
def test_a_real_bert_whose_family_is_not_named(architectures, minilm, tmp_path):
    shutil.copytree(minilm, tmp_path / "albert")
    lm = configured(tmp_path / "albert", model_type=None, architectures=architectures)
    config = encoder_config(lm)
    assert type(config) is BertConfig and config.hidden_size == encoder_config(minilm).hidden_size
    assert len(load_encoder(lm, config).encoder.layer) == 6


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "mpnet"])
def test_the_family_named_decides(family, folder, tiny_lm, tmp_path):
    shutil.copytree(tiny_lm(family), tmp_path / folder)
    lm = str(tmp_path / folder)
    config, tokenizer = encoder_config(lm), load_tokenizer(lm)
    assert config.model_type == family and type(load_encoder(lm, config).config) is type(config)
    assert tokenize(tokenizer, lms.TEXT) == tokenize(load_tokenizer(tiny_lm(family)), lms.TEXT)


@pytest.mark.parametrize("family", [family for family in lms.FAMILIES if family not in ("bert", "multilingual-e5")])
@pytest.mark.parametrize("architectures", ["kept", None])
def test_another_family_has_to_be_named(family, architectures, tiny_lm, tmp_path):
    folder = tmp_path / "bert" / family
    shutil.copytree(tiny_lm(family), folder)
    changes = {"type_vocab_size": 1} if "roberta" in family else {}
    lm = configured(folder, model_type=None, **changes, **({} if architectures else {"architectures": None}))
    with pytest.raises(
        ValueError,
        match='configuration from .*config.json does not say which family .* add a line such as "model_type"',
    ):
        FrozenLanguageModel.from_pretrained(lm, 1)


def test_a_tokenizer_that_names_no_class_is_the_familys(tiny_lm, tmp_path):
    folder = tmp_path / "albert" / "x"
    shutil.copytree(tiny_lm("electra"), folder)
    (folder / "tokenizer_config.json").unlink()
    assert type(load_tokenizer(str(folder))) is ElectraTokenizerFast
    configured(folder, model_type=None)
    with pytest.raises(ValueError, match="tokenizer from .*config.json does not say which family"):
        load_tokenizer(str(folder))


def test_loading_prints_nothing(tiny_lm, capfd):
    lm = tiny_lm("bert")
    capfd.readouterr()  # making it prints
    FrozenLanguageModel.from_pretrained(lm, 2)
    assert capfd.readouterr() == ("", "")


def test_robertas_first_word_has_a_space_before_it(tiny_lm):
    assert tokenize(load_tokenizer(tiny_lm("roberta")), ["man"]) == [["Ġman"]]


def test_a_folder_has_no_known_name(tiny_lm, tmp_path, monkeypatch):
    """It may hold any model, and bert-score's layer and baseline are those of the hub's."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_lm("bert"), "bert-base-uncased")
    with pytest.raises(ValueError, match="names no scoring layer for 'bert-base-uncased'"):
        scoring_layer("bert-base-uncased", None, encoder_config("bert-base-uncased"))
    with pytest.raises(ValueError, match="no rescaling baseline for the model 'bert-base-uncased'"):
        rescaling_baseline("bert-base-uncased", 0, "en")
    (tmp_path / "x.tsv").write_text("LAYER,P,R,F\n0,0.1,0.2,0.3\n")
    shutil.copytree(tiny_lm("bert"), "x")
    with pytest.raises(ValueError, match="no rescaling baseline for the model"):
        rescaling_baseline(str(tmp_path / "x"), 0, "en")


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "there is no config.json"),
        ('{"model_type": ["bert"]}', """the "model_type" in its config.json is no name of a family, but ['bert']"""),
        ('{"model_type": {}}', 'the "model_type" in its config.json is no name of a family, but {}'),
        ('{"model_type": 5}', 'the "model_type" in its config.json is no name of a family, but 5'),
        ('["bert"]', "its config.json is no table of settings, but ['bert']"),
        ('"bert"', "its config.json is no table of settings, but bert"),
        ("null", "its config.json is no table of settings, but None"),
    ],
)
def test_a_configuration_that_is_none(content, message, tiny_lm, tmp_path):
    folder = tmp_path / "lm"
    shutil.copytree(tiny_lm("bert"), folder)
    (folder / "config.json").unlink()
    (folder / "tokenizer_config.json").unlink()  # the family's tokenizer
    if content is not None:
        (folder / "config.json").write_text(content)
    for load in (encoder_config, load_tokenizer):
        with pytest.raises(
            ValueError, match=re.escape(f"from '{folder}': {message} (the folder must hold config.json")
        ):
            load(str(folder))


@pytest.mark.parametrize("name", ["./nomodel", "/nowhere/model", "../models/bert", "~/bert"])
def test_a_path_that_leads_nowhere(name):
    with pytest.raises(ValueError, match=f"^cannot load the language model's tokenizer from '{name}': there is no"):
        load_tokenizer(name)
    assert is_out_of_reach(name), "nobody is asked for it"
