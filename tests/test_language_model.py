"""The frozen encoder: every family, cut at its layer, fed with its own embeddings."""

from types import SimpleNamespace

import lms
import pytest
import torch
from bert_score.utils import get_model, model2layers
from transformers import AutoModel, AutoTokenizer, GPT2Config, T5Config

from fairseq_bertloss.language_model import FrozenLanguageModel, idf_weights, rescaling_baseline, scoring_layer


@pytest.mark.parametrize("family", lms.FAMILIES)
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_embeddings_in_equal_ids_in(family, layer, tiny_lm):
    """Its output is that of bert-score's model of the same layer, which reads token ids."""
    if (family, layer) == ("deberta-v2", 0):
        pytest.skip("transformers' DeBERTa-v2 does not run without layers")
    folder = tiny_lm(family)
    batch = AutoTokenizer.from_pretrained(folder)(lms.TEXT[:3], return_tensors="pt", padding=True)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad():
        expected = get_model(folder, layer)(ids, attention_mask=mask)[0]
    lm = FrozenLanguageModel.from_pretrained(folder, layer)
    output = lm(lm.embedding_table[ids], mask.bool())
    torch.testing.assert_close(output[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", lms.FAMILIES)
def test_positions(family, tiny_lm):
    lm = FrozenLanguageModel.from_pretrained(tiny_lm(family), 1)
    assert lm.max_length == (98 if family in lms.ROBERTA_LIKE else 100)
    size = lm.embedding_table.size(1)
    lm(torch.zeros(1, lm.max_length, size), torch.ones(1, lm.max_length, dtype=torch.bool))
    if not family.startswith("deberta"):  # whose positions are relative
        with pytest.raises((RuntimeError, IndexError)):
            lm(torch.zeros(1, lm.max_length + 1, size), torch.ones(1, lm.max_length + 1, dtype=torch.bool))


def test_is_frozen_and_deterministic(tiny_lm):
    lm = FrozenLanguageModel.from_pretrained(tiny_lm("bert"), 2)
    embeddings = torch.randn(1, 4, 16, requires_grad=True)
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert torch.equal(lm(embeddings, mask), lm(embeddings, mask)), "dropout is on"
    lm(embeddings, mask).sum().backward()
    assert embeddings.grad is not None
    assert lm.embedding_table.grad is None and not lm.embedding_table.requires_grad


def test_known_names_have_their_layer():
    for name in ("bert-base-uncased", "roberta-large"):
        assert scoring_layer(name, None, SimpleNamespace(num_hidden_layers=24)) == model2layers[name]


def test_unknown_name_needs_a_layer(tiny_lm):
    with pytest.raises(ValueError, match="choose one .--bert-layer N .* 9 of 12"):
        FrozenLanguageModel.from_pretrained(tiny_lm("bert"))


@pytest.mark.parametrize("layer", [-1, 4])
def test_no_such_layer(layer, tiny_lm):
    with pytest.raises(ValueError, match=rf"layers 0 \(its embeddings\) to 3, no layer {layer}"):
        FrozenLanguageModel.from_pretrained(tiny_lm("bert"), layer)


def test_not_a_model(tmp_path):
    with pytest.raises(ValueError, match="cannot load the language model's configuration.*existing folder"):
        FrozenLanguageModel.from_pretrained(str(tmp_path / "absent"), 1)
    with pytest.raises(ValueError, match="config.json"):
        FrozenLanguageModel.from_pretrained(str(tmp_path), 1)


def test_a_folder_without_weights(tmp_path, tiny_lm):
    AutoModel.from_pretrained(tiny_lm("bert")).config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot load the language model's weights"):
        FrozenLanguageModel.from_pretrained(str(tmp_path), 1)


@pytest.mark.parametrize("config", [GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=9), T5Config(num_layers=1)])
def test_not_an_encoder(config, tmp_path):
    config.save_pretrained(tmp_path)
    if not config.is_encoder_decoder:
        AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is not an encoder such as BERT|not built like BERT"):
        FrozenLanguageModel.from_pretrained(str(tmp_path), 1)


def test_idf_weights_are_bert_scores(tmp_path, tiny_lm):
    from bert_score.utils import get_idf_dict

    tokenizer = AutoTokenizer.from_pretrained(tiny_lm("bert"))
    path = tmp_path / "references"
    path.write_text("\n".join(lms.TEXT) + "\n\n", encoding="utf-8")
    weights, expected = idf_weights(str(path), tokenizer), get_idf_dict(lms.TEXT, tokenizer, nthreads=0)
    assert {i: weights[i] for i in range(len(tokenizer))} == {i: expected[i] for i in range(len(tokenizer))}
    assert weights[tokenizer.cls_token_id] == weights[tokenizer.sep_token_id] == 0
    assert len(set(weights.values())) > 3


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\n"])
def test_bad_idf_references(content, tmp_path, tiny_lm):
    path = tmp_path / "references"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="references"):
        idf_weights(str(path), AutoTokenizer.from_pretrained(tiny_lm("bert")))


def test_baselines(tmp_path):
    assert rescaling_baseline("bert-base-uncased", 0, "en") == (0.3231512, 0.32322776, 0.31853873)
    with pytest.raises(ValueError, match="no rescaling baseline for the model 'bert-base-uncased' and the language 'tr'"):
        rescaling_baseline("bert-base-uncased", 9, "tr")
    path = tmp_path / "baseline.tsv"
    path.write_text("LAYER,P,R,F\n0,0.1,0.2,0.3\n1,0.4,0.5,0.6\n")
    assert rescaling_baseline("mine", 1, None, str(path)) == (0.4, 0.5, 0.6)
    with pytest.raises(ValueError, match=r"no baseline for layer 2, only for \[0, 1\]"):
        rescaling_baseline("mine", 2, None, str(path))
    path.write_text("layer,p\n0,0.1\n")
    with pytest.raises(ValueError, match="LAYER,P,R,F"):
        rescaling_baseline("mine", 0, None, str(path))
