"""ToCo's losses: patch-token contrast, class-token contrast (Ru 2023, eq. 3-5)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.methods.attention_affinity import dense_pair_labels
from wsss.runtime import distributed
from wsss.runtime.labels import IGNORE


def token_pairs(labels: Tensor) -> Tensor:
    """Pair labels of all tokens (B, N, N), uint8: 1 same label, 0 different, 255 ignored.

    labels: (B, h, w) integer, row-major tokens; pairs with a label of 255, and of a token with itself, are ignored.
    """
    pairs = dense_pair_labels(labels, stride=1)
    pairs.diagonal(dim1=1, dim2=2).fill_(IGNORE)
    return pairs


def ptc_loss(features: Tensor, pairs: Tensor) -> Tensor:
    """Patch-token contrast: makes same-label tokens similar and others orthogonal (eq. 3); scalar in [0, 1].

    features: (B, D, h, w). pairs: (B, N, N) of `token_pairs`. Similarity is |cos|; counts are over the
    whole batch, plus one.
    """
    tokens = F.normalize(features.flatten(2), dim=1)
    similarity = (tokens.transpose(1, 2) @ tokens).abs()
    return 0.5 * (1 - _mean_where(pairs == 1, similarity)) + 0.5 * _mean_where(pairs == 0, similarity)


def _mean_where(mask: Tensor, values: Tensor) -> Tensor:
    """Sum over the mask divided by its size plus one, in float32 or higher, also under autocast."""
    precision = torch.promote_types(values.dtype, torch.float32)
    count = distributed.batch_sum(mask.sum())
    return values.where(mask, 0).sum(dtype=precision) * distributed.processes() / (count + 1)


def ctc_loss(student: Tensor, teacher: Tensor, flags: Tensor, temperature: float = 0.5) -> Tensor:
    """Class-token contrast of all views with the teacher's global views (eq. 5), as published; scalar ≥ 0.

    student: (V, B, D), projections of every view. teacher: (G, B, D), of the global views. flags: (B, V), 1
    for positive views, 0 for negative ones. Each teacher view adds −log(e^p/(e^p + Σ e^neg + 1e-4)) per
    positive p and −log(1/(1 + Σ e^neg + 1e-4)) once; an image's sum is divided by G·(positives + 1e-4).
    """
    logits = torch.einsum("vbd,gbd->bgv", student, teacher) / temperature
    positive = flags[:, None].to(logits)  # (B, 1, V)
    excluded = logits.new_tensor([-math.inf])
    negatives = torch.where(positive > 0, excluded, logits).logsumexp(-1, keepdim=True)  # (B, G, 1)
    # log(Σ e^neg + 1e-4): never −inf, so that images without negative views have finite gradients.
    rest = torch.logaddexp(negatives, logits.new_full((), math.log(1e-4)))
    per_positive = torch.logaddexp(logits, rest) - logits
    total = (per_positive * positive).sum((1, 2)) + F.softplus(rest).sum((1, 2))
    return (total / (len(teacher) * (flags.sum(1) + 1e-4))).mean()
