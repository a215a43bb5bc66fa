"""Where the language model finds its tokens, and in which batches it reads them."""

import lms
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loss import assert_scores, make_loss, random_batch

from fairseq_bertloss.language_model.frozen import FrozenLanguageModel
from fairseq_bertloss.loss.layout import COST_OF_A_BATCH, END, FIRST_TOKEN, START, SentenceLayout, batches

PAD, EOS = 1, 2
sentences = st.lists(st.integers(3, 9), max_size=6).map(lambda tokens: [*tokens, EOS])


def pad(rows: list[list[int]], left: list[bool], more: int = 0) -> torch.Tensor:
    """(sentences, length): each row padded on its side, `more` than needed."""
    width = max(map(len, rows)) + more
    fill = [[PAD] * (width - len(row)) for row in rows]
    return torch.tensor([gap + row if before else row + gap for row, gap, before in zip(rows, fill, left, strict=True)])


def read(layout: SentenceLayout, ids: torch.Tensor) -> list[list[int | str]]:
    """What stands at the places of each sentence that the mask admits."""
    assert (START, END, FIRST_TOKEN) == (0, 1, 2)
    rows = ["[CLS]", "[SEP]", *ids.flatten()[layout.tokens].tolist()]
    return [
        [rows[place] for place, real in zip(places, mask, strict=True) if real]
        for places, mask in zip(layout.places.tolist(), layout.mask.tolist(), strict=True)
    ]


def assert_well_formed(layout: SentenceLayout) -> None:
    """Padding is on the right, as far as the longest needs it, and holds the end marker."""
    width = 1 + max(layout.lengths)
    assert layout.places.shape == layout.mask.shape == (len(layout.lengths), width)
    assert layout.mask.tolist() == [[True] * (1 + n) + [False] * (width - 1 - n) for n in layout.lengths]
    assert (layout.places[~layout.mask] == END).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_layout_reads_the_sentences(data):
    rows = data.draw(st.lists(sentences, min_size=1, max_size=5))
    left = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    ids = pad(rows, left, data.draw(st.integers(0, 3)))
    layout = SentenceLayout.of(ids, PAD, EOS)
    assert_well_formed(layout)
    assert layout.lengths == [len(row) for row in rows]
    assert ids.flatten()[layout.tokens].tolist() == [token for row in rows for token in row]
    assert read(layout, ids) == [["[CLS]", *row] for row in rows]

    marked = layout.with_marker_at_end()
    assert_well_formed(marked)
    assert read(marked, ids) == [["[CLS]", *row[:-1], "[SEP]"] for row in rows]
    assert torch.equal(marked.tokens, layout.tokens) and marked.lengths == layout.lengths

    chosen = data.draw(st.permutations(range(len(rows))))[: data.draw(st.integers(1, len(rows)))]
    for whole, end in ((layout, EOS), (marked, "[SEP]")):
        part = whole.part(chosen)
        assert_well_formed(part)
        assert part.lengths == [len(rows[i]) for i in chosen]
        assert read(part, ids) == [["[CLS]", *rows[i][:-1], end] for i in chosen]
    assert read(layout.part(chosen).with_marker_at_end(), ids) == read(marked.part(chosen), ids)


def test_one_sentence_and_its_end_alone():
    layout = SentenceLayout.of(torch.tensor([[PAD, EOS, PAD]]), PAD, EOS)
    assert layout.tokens.tolist() == [1] and layout.lengths == [1]
    assert layout.places.tolist() == [[START, FIRST_TOKEN]] and layout.mask.tolist() == [[True, True]]
    assert layout.with_marker_at_end().places.tolist() == [[START, END]]


def test_an_end_in_the_middle_is_a_token():
    layout = SentenceLayout.of(torch.tensor([[EOS, 5, EOS, PAD]]), PAD, EOS)
    assert layout.lengths == [3] and layout.with_marker_at_end().places.tolist() == [[0, 2, 3, 1]]


@pytest.mark.parametrize(
    "row",
    [[5, 6, 7], [EOS, 5, 6], [5, EOS, 6], [PAD, 5, 6], [5, 6, PAD], [5, PAD, EOS], [EOS, PAD, EOS], [PAD, PAD, PAD]],
)
def test_what_is_no_sentence(row):
    for ids in ([row], [[5, 6, EOS], row], [row, [5, EOS, PAD]]):
        with pytest.raises(ValueError, match="must end with </s>, with padding only before or only after it"):
            SentenceLayout.of(torch.tensor(ids), PAD, EOS)


# Batches of like lengths.


def price(lengths: list[int], groups: list[list[int]], cost: int) -> int:
    return sum(cost + len(group) * (1 + max(lengths[i] for i in group)) for group in groups)


def partitions(items: list[int]):
    """All ways to divide items into groups."""
    if not items:
        yield []
        return
    first, *others = items
    for groups in partitions(others):
        yield [[first], *groups]
        for i, group in enumerate(groups):
            yield [*groups[:i], [first, *group], *groups[i + 1 :]]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=7), st.integers(0, 60))
def test_batches_are_the_cheapest(lengths, cost):
    groups = batches(lengths, cost)
    assert price(lengths, groups, cost) == min(price(lengths, p, cost) for p in partitions(list(range(len(lengths)))))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(0, 200))
def test_batches_divide_the_sentences_by_length(lengths, cost):
    groups = batches(lengths, cost)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    spans = [(min(lengths[i] for i in group), max(lengths[i] for i in group)) for group in groups]
    assert all(longest < shortest for (_, longest), (shortest, _) in zip(spans, spans[1:], strict=False))


def test_batches_between_nothing_and_everything():
    lengths = [7, 3, 7, 12, 3, 3]
    assert batches(lengths, 0) == [[1, 4, 5], [0, 2], [3]]
    assert batches(lengths, 10**9) == [[1, 4, 5, 0, 2, 3]]
    assert batches([5], 64) == [[0]] and batches([], 64) == []


# Through the loss.

LENGTHS = [3, 88, 1, 41, 2, 90, 40, 3]


@pytest.fixture
def read_at_once(monkeypatch):
    """The shapes in which language models read sentences."""
    shapes = []
    encode = FrozenLanguageModel.__call__

    def watched(self, embeddings, mask):
        shapes.append(tuple(mask.shape))
        return encode(self, embeddings, mask)

    monkeypatch.setattr(FrozenLanguageModel, "__call__", watched)
    return shapes


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2"])
@pytest.mark.parametrize("end_of_sentence", ["scored", "gold"])
def test_a_divided_batch_is_the_undivided_one_and_its_sentences_alone(
    family, end_of_sentence, tiny_lm, read_at_once, monkeypatch, tmp_path
):
    (tmp_path / "references").write_text("\n".join(lms.TEXT))
    loss = make_loss(
        tiny_lm(family), soft_prediction="sparsemax", end_of_sentence=end_of_sentence,
        idf_references=str(tmp_path / "references"),
    ).double()  # fmt: skip
    logits, target = random_batch(loss, LENGTHS, dtype=torch.float64)
    upstream = torch.randn(len(LENGTHS), generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def run(logits, target, upstream):
        """Scores, and the gradient of a weighted sum of F1."""
        read_at_once.clear()
        score = loss(logits, target)
        return score, torch.autograd.grad(score.f1 @ upstream, logits)[0]

    score, gradient = run(logits, target, upstream)
    # The references' pass and the predictions' of each of three groups.
    assert read_at_once == [(4, 4)] * 2 + [(2, 42)] * 2 + [(2, 91)] * 2
    with monkeypatch.context() as patch:
        patch.setitem(COST_OF_A_BATCH, "cpu", 10**9)
        whole, whole_gradient = run(logits, target, upstream)
        assert read_at_once == [(8, 91)] * 2
    assert_scores(score, whole, atol=1e-6)
    torch.testing.assert_close(gradient, whole_gradient, atol=1e-6, rtol=0)
    for i, length in enumerate(LENGTHS):
        alone, its_gradient = run(logits[i : i + 1, :length], target[i : i + 1, :length], upstream[i : i + 1])
        assert_scores(alone, [part[i : i + 1] for part in score], atol=1e-6)
        torch.testing.assert_close(its_gradient, gradient[i : i + 1, :length], atol=1e-6, rtol=0)


def test_hypotheses_of_other_lengths_than_their_references(tiny_lm, read_at_once):
    loss = make_loss(tiny_lm("bert"))
    _, target = random_batch(loss, LENGTHS)
    _, hypothesis = random_batch(loss, LENGTHS[::-1], seed=1)
    score = loss.score_ids(hypothesis, target)
    assert len(read_at_once) > 2, "one batch: nothing was divided"
    for i, length in enumerate(LENGTHS):
        alone = loss.score_ids(hypothesis[i : i + 1, : LENGTHS[-1 - i]], target[i : i + 1, :length])
        assert_scores(alone, [part[i : i + 1] for part in score], atol=1e-6)
