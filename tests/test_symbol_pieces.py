"""Soft predictions of symbols that are no pieces of the language model: each reads as the pieces that spell it."""

import pytest
import torch
import torch.nn.functional as F
from lms import TEXT
from text_models import foreign  # noqa: F401, a fixture
from training import bertscore, logged, train

from fairseq_bertloss import BERTScoreLoss
from fairseq_bertloss.language_model.symbol_pieces import spelt
from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.language_model.vocabulary import Specials, dictionary_symbols, load_tokenizer

SPELLINGS = {
    "@@": {"house": ["house"], "ter@@": ["ter"], "ment": ["##ment"], "in@@": ["in"], "untranslat@@": None},
    "▁": {"▁house": ["house"], "ter": ["##ter"], "ment": ["##ment"], "▁in": ["in"], "in": ["##in"], "▁": ["[UNK]"]},
    "Ġ": {"Ġhouse": ["house"], "ment": ["##ment"], "ĠcafÃ©": ["cafe"], "in": ["##in"]},
    "</w>": {"house</w>": ["house"], "in</w>": ["in"], "ment</w>": ["##ment"]},
    None: {"house": ["house"], "in": ["in"], "unseen": None},
}
"""Of dictionaries with each mark, symbols and what they are to BERT; None: what it reads of the word in text."""


@pytest.mark.parametrize("mark", SPELLINGS)
def test_a_symbol_is_read_as_it_is_spelt(minilm, mark):
    tokenizer = load_tokenizer(minilm)
    symbols = [*SPELLINGS[mark], *Specials(), "madeupword0000", "__en__"]
    pieces = spelt(symbols, tokenizer)
    found = pieces.ids.split(pieces.counts.tolist())
    for symbol, ids in zip(SPELLINGS[mark], found, strict=False):
        expected = SPELLINGS[mark][symbol] or tokenize(tokenizer, [symbol.removesuffix("@@")])[0]
        assert tokenizer.convert_ids_to_tokens(ids.tolist()) == expected, symbol
    specials = tokenizer.convert_tokens_to_ids(["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[UNK]", "[UNK]"])
    assert [ids.tolist() for ids in found[-6:]] == [[i] for i in specials]


def test_a_beginning_of_xlm_r_s_is_marked_and_a_rest_is_not(tiny_lm):
    tokenizer = load_tokenizer(tiny_lm("xlm-roberta"))
    symbols = ["▁the", "ing", "▁ing"]
    read = spelt([*symbols, *Specials()], tokenizer)
    pieces = [tokenizer.convert_ids_to_tokens(ids.tolist()) for ids in read.ids.split(read.counts.tolist())]
    assert ["".join(those) for those in pieces[:3]] == symbols


def test_numbers_spell_nothing(minilm):
    with pytest.raises(ValueError, match="symbols are numbers, as --bpe gpt2 makes them"):
        spelt([*Specials(), "262", "11", "13"], load_tokenizer(minilm))


@pytest.fixture(scope="module")
def losses(tiny_lm):
    """The loss of symbols as they are read, "pieces" or by their "spelling"; of a language model's own, and of others.

    The others are halves of words, most of them several pieces."""
    lm = tiny_lm("bert")
    words = sorted({word.strip(".,!:").lower() for line in TEXT for word in line.split()})
    halves = [
        part for word in words for part in (f"{word[: len(word) // 2 + 1]}@@", word[len(word) // 2 + 1 :]) if part
    ]
    symbols = {
        "own": [*Specials(), *dictionary_symbols(load_tokenizer(lm))],
        "other": [*Specials(), *dict.fromkeys(halves), "madeupword0000"],
    }
    return lambda whose, read="spelling", **options: BERTScoreLoss.from_pretrained(
        lm, symbols[whose], 2, symbols_as=read, soft_prediction="softmax", **options
    )


def batch(loss):
    """Logits, and targets of 9 and 5 symbols."""
    pad, eos = loss.specials.pad, loss.specials.eos
    target = torch.randint(4, len(loss.embedding_table) - 1, (2, 9))
    target[0, 8] = target[1, 4] = eos
    target[1, 5:] = pad
    return torch.randn(2, 9, len(loss.embedding_table)).mul(3).requires_grad_(), target


def test_the_language_model_s_own_symbols_are_read_as_ever(losses, tmp_path):
    (tmp_path / "references").write_text("\n".join(TEXT))
    options = {"idf_references": str(tmp_path / "references")}
    by_name, by_spelling = losses("own", "pieces", **options), losses("own", "spelling", **options)
    logits, target = batch(by_name)
    expected, found = by_name(logits, target), by_spelling(logits, target)
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))
    own = torch.autograd.grad(expected.f1.sum(), logits)
    assert torch.equal(own[0], torch.autograd.grad(found.f1.sum(), logits)[0])


def test_other_symbols_are_the_mean_of_their_pieces(losses, tmp_path):
    """Against a plain computation, symbol by symbol and sentence by sentence; gradients flow to every logit."""
    (tmp_path / "references").write_text("\n".join(TEXT))
    loss = losses("other", idf_references=str(tmp_path / "references"), end_of_sentence="gold")
    own = losses("own", idf_references=str(tmp_path / "references"))
    ids, counts = loss._pieces
    table = loss.language_model.embedding_table
    idf = dict(zip(own._pieces.ids.tolist(), own.idf.tolist(), strict=True))
    each = [those.tolist() for those in ids.split(counts.tolist())]
    assert max(counts) > 1 and len(each) == len(loss.embedding_table)
    embeddings = torch.stack([torch.stack([table[i] for i in those]).mean(dim=0) for those in each])
    weights = torch.tensor([sum(idf[i] for i in those) / len(those) for those in each])
    torch.testing.assert_close(loss.embedding_table, embeddings)
    torch.testing.assert_close(loss.idf, weights)

    logits, target = batch(loss)
    found = loss(logits, target).f1
    expected = torch.stack([
        plain_f(loss.language_model, embeddings, weights, row[:length].softmax(dim=-1), symbols[:length])
        for row, symbols, length in zip(logits, target, (9, 5), strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(found, expected)
    gradient, plain = (torch.autograd.grad(f.sum(), logits)[0] for f in (found, expected))
    torch.testing.assert_close(gradient, plain, atol=1e-6, rtol=1e-4)
    assert gradient[0, :8].ne(0).all()


def plain_f(language_model, table, weights, probabilities, target):
    """F of one sentence's soft predictions, of which the last stands at [SEP]."""
    marks = table[[0, 2]]

    def read(embeddings):
        inputs = torch.cat([marks[:1], embeddings[:-1], marks[1:]])[None]
        return F.normalize(language_model(inputs, torch.ones(inputs.shape[:2], dtype=torch.bool))[0], dim=-1)

    cosine = read(probabilities @ table) @ read(table[target]).T
    ours, theirs = (probabilities @ weights)[:-1], weights[target][:-1]
    precision = (cosine.amax(dim=1)[1:-1] * ours).sum() / ours.sum()
    recall = (cosine.amax(dim=0)[1:-1] * theirs).sum() / theirs.sum()
    return 2 * precision * recall / (precision + recall)


def test_no_cache_tells_symbols_from_their_pieces(losses, tmp_path):
    with pytest.raises(ValueError, match="needs a dictionary of the language model's own pieces"):
        losses("other").cache_references(str(tmp_path), 10**9)


def test_other_symbols_are_refused_unless_asked_for(losses):
    with pytest.raises(ValueError, match="roughly for --objective soft with --symbols-as spelling"):
        losses("other", "pieces")


def test_fairseq_train_reads_subword_nmt(foreign, tiny_lm, tmp_path):  # noqa: F811, the fixture
    arguments = [*bertscore(tiny_lm("bert")), "--symbols-as", "spelling", "--max-update", "2", "--disable-validation"]
    done = train(foreign("subword_nmt").data, tmp_path, *arguments)
    assert "symbols are no pieces of" in done.stdout + done.stderr
    updates = logged(done, "train_inner")
    assert [1 < update["f_bert"] < 100 for update in updates] == [True, True]
