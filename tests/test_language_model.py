"""The frozen encoder: every family, cut at its layer, fed with its own embeddings."""

import math
from types import SimpleNamespace

import lms
import pytest
import torch
from bert_score.utils import get_model, model2layers
from torch.nn import Linear
from transformers import AutoModel, AutoTokenizer, GPT2Config, T5Config

from fairseq_bertloss.language_model.frozen import (
    DTYPES,
    FrozenLanguageModel,
    idf_weights,
    rescaling_baseline,
)
from fairseq_bertloss.language_model.pretrained import scoring_layer
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

LOW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
WITH_SDPA = {"bert", "multilingual-e5", "distilbert", "roberta", "xlm-roberta", "albert"}


def to(dtype: torch.dtype, device: str = "cpu"):
    """The function that nn.Module.to applies to every tensor."""
    return lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None)


def batch_of(lm: FrozenLanguageModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Random embeddings of three sentences, the same every time, and their mask."""
    shape = (3, 9, lm.embedding_table.size(1))
    embeddings = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(9) < torch.tensor([[9], [4], [7]])
    return embeddings, mask


def encode(lm: FrozenLanguageModel, autocast: torch.dtype | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """What comes out for `batch_of` without its padding, and the gradient of a weighted sum of it to what goes in."""
    embeddings, mask = batch_of(lm)
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        output = lm(embeddings.requires_grad_(), mask)[mask].float()
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    return output.detach(), embeddings.grad


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


@pytest.mark.parametrize("family", lms.FAMILIES)
def test_no_weight_is_idle(family, tiny_lm):
    """No pooler and no layer above the scoring layer: what comes out depends on every weight but the words'."""
    lm = FrozenLanguageModel.from_pretrained(tiny_lm(family), 2)
    weights = {name: weight.requires_grad_() for name, weight in lm._encoder.named_parameters()}
    embeddings, mask = batch_of(lm)
    lm(embeddings, mask).square().sum().backward()
    assert [name for name, weight in weights.items() if weight.grad is None] == ["embeddings.word_embeddings.weight"]


@pytest.mark.parametrize("family", lms.FAMILIES)
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_scaled_dot_product_attention(family, dtype, tiny_lm, monkeypatch):
    """Once a layer, for every family that transformers has it for."""
    calls, attention = [], torch.nn.functional.scaled_dot_product_attention
    lm = FrozenLanguageModel.from_pretrained(tiny_lm(family), 2, dtype)
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda query, *others, **options: calls.append(query.dtype) or attention(query, *others, **options),
    )
    encode(lm)
    supported = lm._encoder._supports_sdpa
    assert supported or family not in WITH_SDPA
    assert calls == [LOW.get(dtype, torch.float32)] * (2 if supported else 0)


# A precision of its own.


@pytest.mark.parametrize("family", lms.FAMILIES)
@pytest.mark.parametrize("dtype", LOW)
def test_low_precision_is_autocasts(family, dtype, tiny_lm):
    """To the bit what autocast makes of float32 weights, in value and gradient, though they are cast once."""
    if family == "deberta":
        pytest.skip("autocast alone makes transformers' DeBERTa overflow: test_low_precision_is_near")
    folder = tiny_lm(family)
    plain = FrozenLanguageModel.from_pretrained(folder, 2)
    expected, expected_gradient = encode(plain, autocast=LOW[dtype])
    lm = FrozenLanguageModel.from_pretrained(folder, 2, dtype)
    assert {module.weight.dtype for module in lm._encoder.modules() if isinstance(module, Linear)} == {LOW[dtype]}
    output, gradient = encode(lm)
    assert torch.equal(output, expected)
    assert torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("family", lms.FAMILIES)
@pytest.mark.parametrize("dtype", LOW)
def test_low_precision_is_near(family, dtype, tiny_lm):
    folder = tiny_lm(family)
    expected, expected_gradient = encode(FrozenLanguageModel.from_pretrained(folder, 2))
    output, gradient = encode(FrozenLanguageModel.from_pretrained(folder, 2, dtype))
    # Three layers of products, each rounded to 8 or 11 bits.
    error = 20 * torch.finfo(LOW[dtype]).eps
    assert (output - expected).norm() < error * expected.norm()
    assert (gradient - expected_gradient).norm() < error * expected_gradient.norm()


def test_autocast_keeps_no_cast_of_a_frozen_weight():
    """Why the weights are held in low precision: should this ever fail, plain autocast will do."""
    assert casts_in_three_passes(Linear(4, 4)) == 2 + 3
    assert casts_in_three_passes(Linear(4, 4).requires_grad_(False)) == 3 * (2 + 1)
    assert casts_in_three_passes(Linear(4, 4, dtype=torch.bfloat16).requires_grad_(False)) == 3


def casts_in_three_passes(linear: Linear) -> int:
    """How often autocast casts: a weight, a bias and three inputs."""
    inputs = torch.zeros(2, 4)
    with torch.profiler.profile() as profile, torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(3):
            linear(inputs)
    return sum(event.count for event in profile.key_averages() if event.key == "aten::_to_copy")


def test_without_a_precision_it_follows_the_trainings(tiny_lm):
    lm = FrozenLanguageModel.from_pretrained(tiny_lm("albert"), 2)
    embeddings, mask = batch_of(lm)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert lm(embeddings, mask).dtype == torch.bfloat16
    lm.apply(to(torch.float16))
    assert lm.embedding_table.dtype == lm(embeddings.half(), mask).dtype == torch.float16


@pytest.mark.parametrize("family", ["bert", "albert", "deberta"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_precision_of_its_own_is_not_the_trainings(family, dtype, tiny_lm):
    """Neither fairseq's --fp16 nor --bf16 nor --amp reaches it: not a bit changes."""
    lm = FrozenLanguageModel.from_pretrained(tiny_lm(family), 2, dtype)
    expected, expected_gradient = encode(lm)
    weights = {name: weight.dtype for name, weight in lm._encoder.named_parameters()}
    for training in LOW.values():
        lm.apply(to(training))
    assert {name: weight.dtype for name, weight in lm._encoder.named_parameters()} == weights
    assert lm.embedding_table.dtype == torch.float32
    for autocast in LOW.values():
        output, gradient = encode(lm, autocast)
        assert torch.equal(output, expected) and torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["bert", "albert", "electra", "deberta-v3"])
def test_takes_the_trainings_halves(family, dtype, tiny_lm, tmp_path):
    """Also DeBERTa-v3, which adds nothing in float32 to what it is given before it normalises it."""
    alone = {"position_biased_input": False, "type_vocab_size": 0}
    folder = lms.save_tiny("deberta-v2", str(tmp_path), **alone) if family == "deberta-v3" else tiny_lm(family)
    lm = FrozenLanguageModel.from_pretrained(folder, 2, dtype)
    embeddings, mask = batch_of(lm)
    halves = embeddings.half().requires_grad_()
    output = lm(halves, mask)
    assert torch.equal(output, lm(halves.detach().float(), mask)) and output.dtype == torch.float32
    output.sum().backward()
    assert halves.grad.dtype == torch.float16


@pytest.mark.parametrize("dtype", [None, *DTYPES])
def test_follows_to_the_device(dtype, tiny_lm):
    """Meta is the one other device that every machine has."""
    lm = FrozenLanguageModel.from_pretrained(tiny_lm("bert"), 2, dtype)
    lm.apply(to(torch.float16, "meta"))
    assert {weight.device.type for weight in [*lm._encoder.parameters(), *lm._encoder.buffers()]} == {"meta"}
    assert lm.embedding_table.dtype == (torch.float16 if dtype is None else torch.float32)


def test_unknown_precision(tiny_lm):
    with pytest.raises(ValueError, match="unknown precision 'int8'.*float32, bfloat16, float16"):
        FrozenLanguageModel.from_pretrained(tiny_lm("bert"), 2, "int8")


# Which layer, which model.


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
    with pytest.raises(ValueError, match="cannot load the language model's configuration.*: there is no such folder"):
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


IDF_REFERENCES = {
    "real": lms.TEXT,
    "repeated, empty and blank": ["dog", "", "the dog", "", " \t", "the dog"],
    "ends in empty lines": [*lms.TEXT, "", "\u3000", ""],
    "longer than the language model": ["the dog " * 80, "a house", ""],
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("lines", IDF_REFERENCES.values(), ids=IDF_REFERENCES)
@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_idf_weights_are_bert_scores(family, lines, end, tmp_path, tiny_lm):
    from bert_score.utils import get_idf_dict

    tokenizer = load_tokenizer(tiny_lm(family))
    path = tmp_path / "references"
    path.write_bytes("".join(line + end for line in lines).encode())
    weights, expected = idf_weights(str(path), tokenizer), get_idf_dict(lines, tokenizer, nthreads=0)
    markers = {tokenizer.cls_token_id, tokenizer.sep_token_id}  # tokenizers of no model's own give an empty line none
    rest = set(range(len(tokenizer))) - markers
    assert {i: weights[i] for i in rest} == {i: expected[i] for i in rest}
    assert {weights[i] for i in markers} == {0}
    assert len(set(weights.values())) > 2


def test_idf_counts_empty_references(tmp_path, minilm):
    path = tmp_path / "references"
    path.write_text("the dog\n\na dog\n\na house\n\n", encoding="utf-8")
    tokenizer = load_tokenizer(minilm)
    assert idf_weights(str(path), tokenizer)[tokenizer.convert_tokens_to_ids("dog")] == pytest.approx(math.log(7 / 3))


def test_idf_reads_special_tokens_in_the_text_as_text(tmp_path, minilm):
    path = tmp_path / "references"
    path.write_text("a [SEP] b\nthe house\nthe [UNK]\n", encoding="utf-8")
    tokenizer = load_tokenizer(minilm)
    weights = idf_weights(str(path), tokenizer)
    assert weights[tokenizer.sep_token_id] == 0
    assert (
        weights[tokenizer.convert_tokens_to_ids("sep")] == weights[tokenizer.unk_token_id] == pytest.approx(math.log(2))
    )


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\n"])
def test_bad_idf_references(content, tmp_path, tiny_lm):
    path = tmp_path / "references"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="references"):
        idf_weights(str(path), AutoTokenizer.from_pretrained(tiny_lm("bert")))


def test_baselines(tmp_path):
    assert rescaling_baseline("bert-base-uncased", 0, "en") == (0.3231512, 0.32322776, 0.31853873)
    with pytest.raises(
        ValueError, match="no rescaling baseline for the model 'bert-base-uncased' and the language 'tr'"
    ):
        rescaling_baseline("bert-base-uncased", 9, "tr")
    path = tmp_path / "baseline.tsv"
    path.write_text("LAYER,P,R,F\n0,0.1,0.2,0.3\n1,0.4,0.5,0.6\n")
    assert rescaling_baseline("mine", 1, None, str(path)) == (0.4, 0.5, 0.6)
    with pytest.raises(ValueError, match=r"no baseline for layer 2, only for \[0, 1\]"):
        rescaling_baseline("mine", 2, None, str(path))
    path.write_text("layer,p\n0,0.1\n")
    with pytest.raises(ValueError, match="LAYER,P,R,F"):
        rescaling_baseline("mine", 0, None, str(path))
