"""docs/huggingface.md: its training loop on tiny models of transformers, and beside the criterion of fairseq."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import sentencepiece
import torch
from lms import TEXT, make_tokenizer
from test_criterion import build, gradients, make_sample  # noqa: F401, build is a fixture
from test_readme import examples, replace
from transformers import (
    BatchEncoding,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    NllbTokenizerFast,
)

from fairseq_bertloss.language_model.tokenization import detokenize, tokenize
from fairseq_bertloss.language_model.vocabulary import dictionary_symbols, load_tokenizer, write_dictionary

SIZES = dict(
    d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=200, init_std=0.5,
)  # fmt: skip


def marian(folder) -> str:
    """A random Marian with a sentencepiece model of its own; returns its folder."""
    model = folder / "pieces.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_prefix=str(model.with_suffix("")), vocab_size=80, minloglevel=2
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    symbols = ["</s>", "<unk>", *(pieces.id_to_piece(i) for i in range(3, len(pieces))), "<pad>"]
    vocabulary = folder / "symbols.json"
    vocabulary.write_text(str({symbol: i for i, symbol in enumerate(symbols)}).replace("'", '"'))
    tokenizer = MarianTokenizer(str(model), str(model), str(vocabulary))
    specials = dict(eos_token_id=0, pad_token_id=len(symbols) - 1, decoder_start_token_id=len(symbols) - 1)
    return save(folder, MarianMTModel(MarianConfig(vocab_size=len(symbols), **specials, **SIZES)), tokenizer)


def nllb(folder) -> str:
    """A random M2M100 with a tokenizer of NLLB's kind; returns its folder."""
    file = folder / "pieces.json"
    make_tokenizer("xlm-roberta").backend_tokenizer.save(str(file))
    tokenizer = NllbTokenizerFast(tokenizer_file=str(file))
    return save(folder, M2M100ForConditionalGeneration(M2M100Config(vocab_size=len(tokenizer), **SIZES)), tokenizer)


def save(folder, model, tokenizer) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


MARIAN = 'MODEL, LANGUAGES = "Helsinki-NLP/opus-mt-de-en", {}\n'
NLLB = '# MODEL, LANGUAGES = "facebook/nllb-200-distilled-600M", {"src_lang"'


def program(folder: str, lm: str, is_nllb: bool) -> str:
    """The page's, on models at hand."""
    chosen = {NLLB: f'MODEL, LANGUAGES = {folder!r}, {{"src_lang"'} if is_nllb else {}
    return replace(
        examples("python", "docs/huggingface.md"),
        {
            MARIAN: f"MODEL, LANGUAGES = {folder!r}, {{}}\n",
            **chosen,
            '"bert-base-uncased", layer=9': f"{lm!r}, layer=2",
        },
    )


def test_the_loop_is_short():
    assert len(examples("python", "docs/huggingface.md").splitlines()) <= 60


@pytest.fixture(scope="module")
def marian_folder(tmp_path_factory):
    return marian(tmp_path_factory.mktemp("marian"))


def test_marian_where_there_is_no_fairseq(marian_folder, tiny_lm, write):
    nothing = Path(write("fairseq.py", "raise ModuleNotFoundError('there is no fairseq')\n")).parent
    checked = (
        f"import sys\nsys.path.insert(0, {str(nothing)!r})\n"
        f"{program(marian_folder, tiny_lm('bert'), is_nllb=False)}\n"
        f"before = AutoModelForSeq2SeqLM.from_pretrained({marian_folder!r}).state_dict()\n"
        "assert not all(torch.equal(before[name], after) for name, after in model.state_dict().items())\n"
        "assert not any(after.isnan().any() for after in model.state_dict().values())\n"
    )
    done = subprocess.run([sys.executable, "-c", checked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_nllb(tmp_path, tiny_lm):
    variables = {}
    exec(program(nllb(tmp_path), tiny_lm("bert"), is_nllb=True), variables)
    model, tokenizer = variables["model"], variables["tokenizer"]
    before = M2M100ForConditionalGeneration.from_pretrained(tmp_path).state_dict()
    assert not all(torch.equal(before[name], after) for name, after in model.state_dict().items())

    source = tokenizer(["A dog .", "A black and white dog ."], padding=True, return_tensors="pt")
    candidates = variables["draw"](source)
    assert candidates.shape[:2] == (2, 5)
    start, language = model.config.decoder_start_token_id, tokenizer.convert_tokens_to_ids("eng_Latn")
    assert (candidates[..., :2] == torch.tensor([start, language])).all()


# The same as fairseq's criterion.


class Adapter:
    """A fairseq transformer that is called as one of transformers."""

    device = torch.device("cpu")

    def __init__(self, network):
        self._network = network

    def get_encoder(self):
        return self._encode

    def _encode(self, input_ids, attention_mask):
        encoded = self._network.encoder(input_ids, attention_mask.sum(1))["encoder_out"][0]
        return SimpleNamespace(last_hidden_state=encoded.transpose(0, 1))

    def __call__(self, encoder_outputs, attention_mask, decoder_input_ids):
        encoded = encoder_outputs.last_hidden_state.transpose(0, 1)
        encoder_out = {"encoder_out": [encoded], "encoder_padding_mask": [attention_mask == 0]}
        return SimpleNamespace(logits=self._network.decoder(decoder_input_ids, encoder_out)[0])


class PiecesAsText:
    """What the page asks of a tokenizer, for a fairseq sample whose target symbols are a language model's pieces."""

    pad_token_id = 1

    def __init__(self, sample, dictionary, lm):
        self._sample = sample
        self._dictionary = dictionary
        self._lm = load_tokenizer(lm)

    def __call__(self, sources, text_target, padding, return_tensors):
        input_ids = self._sample["net_input"]["src_tokens"]
        attention_mask = (input_ids != self.pad_token_id).long()
        return BatchEncoding(
            {"input_ids": input_ids, "attention_mask": attention_mask, "labels": self._sample["target"]}
        )

    def batch_decode(self, symbols, skip_special_tokens):
        return [self.text(row) for row in symbols.tolist()]

    def text(self, symbols):
        pieces = [self._dictionary[symbol] for symbol in symbols if symbol > self._dictionary.eos()]
        text = detokenize(self._lm, pieces)
        assert tokenize(self._lm, [text]) == [pieces], "another sentence"
        return text


SOURCES = ["zwei", "ein", "die"]
REFERENCES = ["two men are on the roof of a house.", "a dog, and a dog", "the house"]
CANDIDATES = [
    ["two men are on a roof", "men on the house", "two dog on the the the", "two men are on a roof", "two"],
    ["a dog and the dog.", "a house", "two and two and two", "a house with men", "the dog"],
    ["the house", "a house is in the house with the house", "the the the", "the", "the house"],
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, tiny_lm):
    """The two dictionaries: what `build` needs of a corpus, without its preparation."""
    folder = tmp_path_factory.mktemp("dictionaries")
    write_dictionary(str(folder / "dict.en.txt"), dictionary_symbols(load_tokenizer(tiny_lm("bert"))))
    write_dictionary(str(folder / "dict.de.txt"), SOURCES)
    return folder


def test_the_loss_is_that_of_the_criterion(marian_folder, tiny_lm, build, monkeypatch):  # noqa: F811
    """In value and gradient, on the same candidates."""
    lm = tiny_lm("bert")
    recipe = "--objective risk --reward-matching one-to-one --reward-scale min-max --cross-entropy-weight 0.2"
    arguments = [*recipe.split(), *"--end-of-sentence gold --source-lang de --target-lang en".split()]
    dictionary = build(*arguments)[2].target_dictionary
    # fairseq spreads the smoothing over all symbols but the right one, torch over all.
    smoothing = 0.1 * (len(dictionary) - 1) / len(dictionary)
    criterion, network, task = build(*arguments, "--label-smoothing", str(smoothing))
    pieces = {text: " ".join(tokenize(load_tokenizer(lm), [text])[0]) for text in sum(CANDIDATES, REFERENCES)}
    sample = make_sample(task, [(source, pieces[text]) for source, text in zip(SOURCES, REFERENCES, strict=True)])
    drawn = [[dictionary.encode_line(pieces[one], add_if_not_exist=False).long() for one in own] for own in CANDIDATES]
    monkeypatch.setattr(
        criterion.objective.translator, "draw", lambda *_: [[one.tolist() for one in own] for own in drawn]
    )
    loss, size, _ = criterion(network, sample)

    variables = {}
    exec(program(marian_folder, lm, is_nllb=False), variables)
    begins = torch.tensor([dictionary.eos()])
    begun = [torch.cat([begins, one]) for own in drawn for one in own]
    candidates = torch.nn.utils.rnn.pad_sequence(begun, batch_first=True, padding_value=1).view(3, 5, -1)
    tokenizer = PiecesAsText(sample, dictionary, lm)
    variables |= {"model": Adapter(network), "tokenizer": tokenizer, "PAD": 1, "draw": lambda source: candidates}
    own = variables["loss_of"](SOURCES, REFERENCES)
    torch.testing.assert_close(own, loss / size)
    ours, theirs = gradients(own, network), gradients(loss / size, network)
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    assert largest > 1e-2
    for name, gradient in theirs.items():
        torch.testing.assert_close(
            ours[name], gradient, rtol=0, atol=1e-4 * largest, msg=lambda text, name=name: f"{name}: {text}"
        )
