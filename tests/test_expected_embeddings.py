"""Expected embeddings against the sum written out."""

import torch

from fairseq_bertloss.expected_embeddings import expected_embeddings


def test_equals_the_sum_and_passes_gradcheck():
    p = torch.rand(2, 3, 5, dtype=torch.float64).softmax(-1).requires_grad_()
    table = torch.randn(5, 4, dtype=torch.float64)
    written_out = sum(p[..., i, None] * table[i] for i in range(5))
    torch.testing.assert_close(expected_embeddings(p, table), written_out)
    assert torch.autograd.gradcheck(lambda q: expected_embeddings(q, table), p)


def test_one_hot_looks_the_row_up_in_the_tables_precision():
    table = torch.randn(6, 4, dtype=torch.bfloat16)
    one_hot = torch.eye(6)[[2, 5]]
    assert torch.equal(expected_embeddings(one_hot, table), table[[2, 5]])
