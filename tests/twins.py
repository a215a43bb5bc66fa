"""A small problem for the chunked operator, and its twin: the composition written out, which keeps every tensor."""

import torch
import torch.nn.functional as F

from fairseq_bertloss.loss.expected_embeddings import expected_embeddings
from fairseq_bertloss.loss.output_layer import Projection
from fairseq_bertloss.loss.soft_predictions import soft_prediction

EOS = 2


class Case:
    """Features, projection and table of a small problem, and gradients to come from above."""

    def __init__(self, tokens=23, dim=6, vocabulary=900, size=5, bias=True, dtype=torch.float32, peak=8.0):
        generator = torch.Generator().manual_seed(0)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        self.weight = draw(vocabulary, dim).requires_grad_()
        self.target = torch.randint(vocabulary, (tokens,), generator=generator)
        # Peaked like a trained model's: the features lean towards their target's row of the projection.
        leaning = F.normalize(self.weight.detach()[self.target], dim=-1) * peak / 2
        self.features = (leaning + draw(tokens, dim)).requires_grad_()
        self.bias = draw(vocabulary).requires_grad_() if bias else None
        self.table, self.idf = draw(vocabulary, size), draw(vocabulary).abs()
        self.upstream = [draw(tokens, size), draw(tokens), draw(tokens), draw(tokens) / vocabulary]

    @property
    def inputs(self):
        return [tensor for tensor in (self.features, self.weight, self.bias) if tensor is not None]

    @property
    def logits(self):
        return F.linear(self.features, self.weight, self.bias)

    def operator(self, soft, projected=True, **options):
        options = {"symbol_weights": self.idf, "eos": EOS, "with_uniform": True, "chunk_tokens": 7} | options
        projection = Projection(self.weight, self.bias) if projected else None
        features = self.features if projected else self.logits
        return expected_embeddings(features, self.target, self.table, soft, projection=projection, **options)

    def twin(self, soft, noise=0.0):
        """The first four fields of TokenPredictions, and the rest."""
        lprobs = self.logits.log_softmax(dim=-1)
        p = soft_prediction(self.logits + noise, soft.kind, soft.temperature, gumbel_hard=soft.hard, noise=False)
        nll = -lprobs.gather(-1, self.target.unsqueeze(-1)).squeeze(-1)
        learning = p @ self.table, p @ self.idf, nll, -lprobs.sum(dim=-1)
        correct, p_eos = lprobs.argmax(dim=-1) == self.target, lprobs[:, EOS].exp()
        return learning, (correct, p_eos, torch.special.entr(p).sum(dim=-1), (p > 0).sum(dim=-1))

    def gradients(self, outputs, upstream=None):
        upstream = self.upstream if upstream is None else upstream
        outputs, upstream = zip(
            *((o, u) for o, u in zip(outputs, upstream, strict=False) if u is not None), strict=True
        )
        return torch.autograd.grad(outputs, self.inputs, upstream)


def assert_same(ours, twins, bound=1e-5):
    for one, other in zip(ours, twins, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        scale = max(1.0, float(other.detach().abs().max()))
        torch.testing.assert_close(one, other, rtol=0, atol=bound * scale)
