"""CLIP-ES's maps of 16 images, all present classes, against one class and one image at a time as published.

    python -m benchmarks.clip_maps            (ViT-B/16 with random weights, 384 × 512, CPU; minutes)

The plain version follows the published loop: every block's attention is kept, for each class of an image the
last block runs forward and backward with gradients of its weights too, and the transition matrix is squared.
"""

from __future__ import annotations

import sys
import time

import torch

from wsss.backbones.attention import block_after_norm
from wsss.backbones.clip import CLIPBackbone
from wsss.methods.clip.network import CLIPES
from wsss.methods.clip.settings import Settings
from wsss.refine.attention import box_masks, transition_matrix

SIZE, BLOCKS = (384, 512), 8


def model_of(classes: int) -> CLIPES:
    torch.manual_seed(0)
    backbone = CLIPBackbone("vit_base_patch16_clip_quickgelu_224")
    settings = Settings(name="clip", template="{}", backgrounds=["x"] * 25, affinity_blocks=BLOCKS)
    model = CLIPES(backbone, [str(i) for i in range(classes + 1)], settings).eval()
    model.text.copy_(torch.nn.functional.normalize(torch.randn_like(model.text), dim=1))
    return model


def published(model: CLIPES, image: torch.Tensor, present: list[int]) -> torch.Tensor:
    """Refined maps (k, h, w) of one image, class by class."""
    net, maps = model.backbone, []
    with torch.no_grad():
        embedded = net.embed(image)
        kept: list[torch.Tensor] = []
        last = net.run(embedded, 0, net.depth - 1, lambda _i, a: kept.append(a.mean(1)[0]))
    texts = [*present, *range(model.num_classes, len(model.text))]
    for rank in range(len(present)):
        normed = net.net.blocks[-1].norm1(last.x).detach().requires_grad_()
        out, weights = block_after_norm(net.net.blocks[-1], last.x, normed)
        feature = net.project(net.net.norm(out)[:, 1:].mean(1))
        probs = (model.scale * feature @ model.text[texts].T).softmax(1)
        net.zero_grad()
        probs[0, rank].backward()
        raw = (normed.detach()[0, 1:] @ normed.grad[0, 1:].mean(0)).view(1, *last.grid).relu()
        cam = raw / (raw.amax() + 1e-7)
        if rank == 0:
            stack = torch.stack([*kept, weights.detach().mean(1)[0]])[-BLOCKS:, 1:, 1:]
            transition = transition_matrix(stack.mean(0))
            transition = transition @ transition
        columns = box_masks(cam, 0.4).mask.flatten()[None]
        maps.append(((transition * columns) @ cam.flatten()).view(last.grid))
    return torch.stack(maps)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    model = model_of(20)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, *SIZE, generator=generator)
    labels = torch.zeros(count, 20)
    for i in range(count):  # 1 to 3 classes an image
        labels[i, torch.randperm(20, generator=generator)[: 1 + i % 3]] = 1
    start = time.perf_counter()
    ours = torch.cat([model.present_maps(images[i : i + 1], labels[i : i + 1]) for i in range(count)])
    middle = time.perf_counter()
    model.backbone.requires_grad_(True)  # as published: gradients of weights are computed as well
    for i in range(count):
        published(model, images[i : i + 1], labels[i].nonzero()[:, 0].tolist())
    plain = time.perf_counter() - middle
    print(f"{count} images, {int(labels.sum())} maps, {torch.get_num_threads()} threads, up to {ours.max():.2f}")
    once = middle - start
    print(f"all classes at once {once:.1f} s, published loop {plain:.1f} s, ratio {plain / once:.2f}")


if __name__ == "__main__":
    main()
