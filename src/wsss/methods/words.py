"""Text features of phrases by CLIP's text tower and tokenizer (open_clip)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.checkpoints import load_strictly, read_state_dict, strip_prefix, unwrap
from wsss.backbones.clip_checkpoints import openai_names
from wsss.config.words import Words
from wsss.runtime.progress import log

_PARTS = ("positional_embedding", "text_projection", "token_embedding.", "transformer.", "ln_final.")
_HEAD_WIDTH = 64
VOCABULARY = 49408
"""Tokens of CLIP's tokenizer."""


def text_tower(state: Mapping[str, Tensor], *, quick_gelu: bool, what: str) -> nn.Module:
    """The text tower of a CLIP state dict, under the names of OpenAI, open_clip or transformers.

    Raises:
        ValueError: the state dict has none.
    """
    from open_clip.transformer import QuickGELU, TextTransformer

    state = openai_names(strip_prefix(unwrap(state)))
    own = {name: tensor.float() for name, tensor in state.items() if name.startswith(_PARTS)}
    blocks = {name.split(".")[2] for name in own if name.startswith("transformer.resblocks.")}
    matrices = [own.get(n) for n in ("positional_embedding", "text_projection", "token_embedding.weight")]
    if not blocks or any(matrix is None or matrix.ndim != 2 for matrix in matrices):
        raise ValueError(f"{what} holds no text tower of CLIP; name a file that does in method.text_checkpoint")
    length, width = own["positional_embedding"].shape
    if (words := len(own["token_embedding.weight"])) != VOCABULARY:
        raise ValueError(
            f"{what}: its text tower has another vocabulary of {words} tokens; accepted is CLIP's, {VOCABULARY}"
        )
    tower = TextTransformer(
        length,
        VOCABULARY,
        width,
        max(width // _HEAD_WIDTH, 1),
        len(blocks),
        output_dim=own["text_projection"].shape[1],
        act_layer=QuickGELU if quick_gelu else nn.GELU,
    )
    load_strictly(tower, own, what=what)
    return tower.eval()


@torch.no_grad()
def encode_phrases(tower: nn.Module, sentences: Sequence[str]) -> Tensor:
    """Text features (n, E) of unit length.

    Raises:
        ValueError: a sentence has more tokens than the tower accepts.
    """
    return F.normalize(tower(tokenise(sentences, tower.context_length)), dim=-1)


def tokenise(sentences: Sequence[str], length: int) -> Tensor:
    """(n, length) int64 token ids, with start and end, zero-padded.

    Raises:
        ValueError: a sentence has more tokens; none is truncated.
    """
    tokenizer = _tokenizer(length)
    for sentence in sentences:
        if (count := len(tokenizer.encode(sentence)) + 2) > length:
            raise ValueError(
                f"a phrase has {count} tokens with the template, {length} are accepted: '{sentence[:60]}…'"
            )
    return tokenizer(list(sentences))


@lru_cache
def _tokenizer(length: int) -> Callable[[list[str]], Tensor]:
    """CLIP's tokenizer, whose vocabulary takes a tenth of a second to read."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=length)


def text_features(tower: nn.Module, words: Words, classes: Sequence[str]) -> tuple[list[Tensor], Tensor]:
    """Each class's phrases as unit vectors (n, E), in the order of the classes, and the background phrases (G, E).

    Raises:
        ValueError: words that do not fit the classes or the tower; names the setting.
    """
    phrases = words.phrases_of(classes)
    foreign = [name for name, own in zip(classes, phrases, strict=True) if not any(map(_has_latin, own))]
    if foreign:
        log.warning(
            "method.prompts: OpenAI's CLIP reads English; no phrase of %s has a letter of it", ", ".join(foreign)
        )
    named = [(f"method.prompts.{name:.40}", own) for name, own in zip(classes, phrases, strict=True)]
    found = []
    for where, own in [*named, ("method.backgrounds", words.backgrounds)]:
        try:
            found.append(encode_phrases(tower, words.sentences(own)))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return found[:-1], found[-1]


def _has_latin(phrase: str) -> bool:
    return bool(re.search("[A-Za-z]", phrase))


def tower_of(path: Path | None, *, quick_gelu: bool) -> nn.Module:
    """The text tower of a file.

    Raises:
        ValueError: path is None, or the file has no text tower.
    """
    if path is None:
        raise ValueError(
            "the method needs CLIP's text tower: name OpenAI's ViT-B-16.pt, which holds both towers, in "
            "backbone.checkpoint, or a file with the text tower in method.text_checkpoint"
        )
    return text_tower(read_state_dict(path), quick_gelu=quick_gelu, what=str(path))
