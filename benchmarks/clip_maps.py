"""CLIP-ES's maps of images, all present classes, against two loops over classes.

    python -m benchmarks.clip_maps [images]   (16 images; ViT-B/16 with random weights, 384 × 512, one CPU thread)

- published: an image passes the blocks before the last once and every block's attention is kept; for each of its
  classes the last block runs forward and backward with gradients of its weights too, and the transition matrix is
  made and squared.
- one class at a time: the same, and the whole network runs for each class, as a Grad-CAM library is called.

Seconds of CPU time, so that other work on the machine counts for little.
"""

from __future__ import annotations

import sys
import time

import torch

from wsss.backbones.attention import block_after_norm
from wsss.backbones.clip import CLIPBackbone
from wsss.backbones.tokens import Embedded
from wsss.methods.clip.network import CLIPES
from wsss.methods.clip.settings import Settings
from wsss.refine.attention import box_masks, sinkhorn_transition

SIZE, BLOCKS = (384, 512), 8


def model_of(classes: int) -> CLIPES:
    torch.manual_seed(0)
    backbone = CLIPBackbone("vit_base_patch16_clip_quickgelu_224")
    settings = Settings(name="clip", template="{}", backgrounds=["x"] * 25, affinity_blocks=BLOCKS)
    model = CLIPES(backbone, [str(i) for i in range(classes + 1)], settings).eval()
    model.text.copy_(torch.nn.functional.normalize(torch.randn_like(model.text), dim=1))
    return model


Pass = tuple[Embedded, list[torch.Tensor]]


@torch.no_grad()
def before_last(model: CLIPES, image: torch.Tensor) -> Pass:
    """Tokens that enter the last block, and the attention of those before it, mean over heads."""
    kept: list[torch.Tensor] = []
    net = model.backbone
    return net.run(net.embed(image), 0, net.depth - 1, lambda _i, a: kept.append(a.mean(1)[0])), kept


def map_of(model: CLIPES, state: Pass, present: list[int], rank: int) -> torch.Tensor:
    """Refined map (h, w) of one class of an image, with everything that the last block and the walk do for it."""
    net, (last, kept) = model.backbone, state
    texts = [*present, *range(model.num_classes, len(model.text))]
    normed = net.net.blocks[-1].norm1(last.x).detach().requires_grad_()
    out, weights = block_after_norm(net.net.blocks[-1], last.x, normed)
    feature = net.project(net.net.norm(out)[:, 1:].mean(1))
    net.zero_grad()
    (model.scale * feature @ model.text[texts].T).softmax(1)[0, rank].backward()
    raw = (normed.detach()[0, 1:] @ normed.grad[0, 1:].mean(0)).view(1, *last.grid).relu()
    cam = raw / (raw.amax() + 1e-7)
    stack = torch.stack([*kept, weights.detach().mean(1)[0]])[-BLOCKS:, 1:, 1:]
    transition = sinkhorn_transition(stack.mean(0))
    transition = transition @ transition
    columns = box_masks(cam, 0.4).mask.flatten()[None]
    return ((transition * columns) @ cam.flatten()).view(last.grid)


def published(model: CLIPES, image: torch.Tensor, present: list[int]) -> torch.Tensor:
    state = before_last(model, image)
    return torch.stack([map_of(model, state, present, rank) for rank in range(len(present))])


def class_by_class(model: CLIPES, image: torch.Tensor, present: list[int]) -> torch.Tensor:
    return torch.stack([map_of(model, before_last(model, image), present, rank) for rank in range(len(present))])


def main() -> None:
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    model = model_of(20)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, *SIZE, generator=generator)
    labels = torch.zeros(count, 20)
    for i in range(count):  # 1 to 3 classes an image
        labels[i, torch.randperm(20, generator=generator)[: 1 + i % 3]] = 1
    start = time.process_time()
    for i in range(count):  # as the stage does on a CPU
        model.present_maps(images[i : i + 1], labels[i : i + 1])
    once = time.process_time() - start
    print(f"{count} images, {int(labels.sum())} maps, 1 thread: all classes at once {once:.1f} s")
    model.backbone.requires_grad_(True)  # as published: gradients of weights are computed as well
    for loop in (published, class_by_class):
        start = time.process_time()
        for i in range(count):
            loop(model, images[i : i + 1], labels[i].nonzero()[:, 0].tolist())
        took = time.process_time() - start
        print(f"{loop.__name__} {took:.1f} s, ratio {took / once:.2f}")


if __name__ == "__main__":
    main()
