"""Tiny language models of every family, with random weights and a small real tokenizer."""

import functools
import random
import re
from pydoc_data.topics import topics

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    DebertaTokenizerFast,
    PreTrainedTokenizerFast,
    RobertaTokenizerFast,
)

TEXT = [
    "The man with pierced ears is wearing glasses and an orange hat.",
    "A black and white dog is running in a grassy garden surrounded by a white fence.",
    "Two men are sitting on the roof of a house while another one stands on a ladder.",
    "A woman is standing with three other people in a store with two tables.",
    "People are fixing the roof of a house, and a girl in karate uniform breaks a stick.",
    "The update could not be installed: please check the network connection!",
]
PIECES = r"""
! , . : a b c d e f g h i k l m n o p r s t u w x y ##t ##h ##e ##r ##n ##a ##d ##s ##i ##g ##x ##w ##o ##k
##c ##u ##f ##b ##l ##m ##p ##y ##he ##nd ##ng ##it ##le the ##re ##ing in st ##ar ##se ##ou and is on wh wit
##en ##at ##wo ##ck with an are hou of pe ro two ##the ##er ##ed ##ra ##nn ##an ##and ##of ##op ##la ##ite
stand white ##ate house peop roof ##ther people be by bre bla co che cou do ear fi fen gi gar gra gla hat kar
la men man ne no ora other pi ple ru su sit th ta un up we wo ##ta ##ti ##ting ##two ##ec ##rr ##rk ##rl ##rm
##ak ##ase ##dd ##den
""".split()
"""What WordPieceTrainer once learned from TEXT. It breaks ties by chance; tests would differ from run to run."""

COMMON = dict(num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, max_position_embeddings=100)
FAMILIES = {
    "bert": dict(hidden_size=16, **COMMON),
    "multilingual-e5": dict(hidden_size=16, **COMMON),
    "distilbert": dict(dim=16, hidden_dim=24, n_layers=3, n_heads=2, max_position_embeddings=100),
    "roberta": dict(hidden_size=16, **COMMON),
    "xlm-roberta": dict(hidden_size=16, **COMMON),
    "electra": dict(hidden_size=16, embedding_size=8, **COMMON),
    "albert": dict(hidden_size=16, embedding_size=8, **COMMON),
    "mpnet": dict(hidden_size=16, **COMMON),
    "deberta": dict(hidden_size=16, relative_attention=True, pos_att_type=["c2p", "p2c"], **COMMON),
    "deberta-v2": dict(hidden_size=16, relative_attention=True, pos_att_type=["c2p", "p2c"], **COMMON),
}
ROBERTA_LIKE = ("roberta", "xlm-roberta", "mpnet")  # in their positions and special tokens
UNIGRAM = ("xlm-roberta", "multilingual-e5")  # the latter has XLM-R's tokenizer on a BERT
BYTE_LEVEL = {"roberta": RobertaTokenizerFast, "deberta": DebertaTokenizerFast}


def make_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """A tokenizer learned on TEXT, of the family's kind: Unigram, byte-level BPE or word pieces."""
    cls, pad, sep, unk, mask = (
        ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
        if family in ROBERTA_LIKE + UNIGRAM
        else ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
    )
    specials = [cls, pad, sep, unk, mask] if cls == "<s>" else [pad, unk, cls, sep, mask]
    if family in UNIGRAM:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=specials, unk_token=unk, show_progress=False)
    elif family in BYTE_LEVEL:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
        )
    else:
        vocabulary = [*specials, *PIECES]
        tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(vocabulary)}, unk_token=unk))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.add_special_tokens(specials)
        trainer = None
    if trainer is not None:
        tokenizer.train_from_iterator(TEXT, trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in (cls, sep)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{cls} $A {sep}", special_tokens=ids)
    return BYTE_LEVEL.get(family, PreTrainedTokenizerFast)(
        tokenizer_object=tokenizer,
        cls_token=cls,
        sep_token=sep,
        pad_token=pad,
        unk_token=unk,
        mask_token=mask,
        model_max_length=98,
    )


def save_tiny(family: str, folder: str, tokenizer=None, **changes) -> str:
    """Saves a tiny model of the family with a tokenizer into the folder and returns the folder."""
    tokenizer = tokenizer or make_tokenizer(family)
    settings = FAMILIES[family] | changes | {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model("bert" if family == "multilingual-e5" else family, **settings)
    with torch.random.fork_rng():
        model = AutoModel.from_config(config)
        torch.manual_seed(7)  # not before: how many numbers a configuration's own weights take depends on the version
        for parameter in model.parameters():
            if parameter.dim() > 1:
                # The default deviation of 0.02 makes every sentence look alike, and one of 0.5 makes so much of how
                # a product was rounded that it depends on the processor which tests of identity pass.
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory):
    """family -> folder of a tiny random model of that family, made once."""

    @functools.cache
    def folder(family: str) -> str:
        return save_tiny(family, str(tmp_path_factory.mktemp(family)))

    return folder


@pytest.fixture(scope="session")
def real_pairs():
    """200 real English sentences, and for each another to compare it with: half of them its own with words lost."""
    prose = " ".join(" ".join(topics.values()).split())
    sentences = [s for s in re.split(r"(?<=[.?!]) (?=[A-Z])", prose) if 4 <= len(s.split()) and len(s) <= 150]
    chosen = random.Random(0).sample(sentences, 300)
    references, others = chosen[:200], chosen[200:]
    lossy = [" ".join(word for word in s.split() if random.Random(word).random() < 0.8) for s in references[:100]]
    return lossy + others, references
