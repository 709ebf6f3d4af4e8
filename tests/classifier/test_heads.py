from __future__ import annotations

import torch

from instancefcn.classifier.config import load_classifier_recipe
from instancefcn.classifier.heads import LiteHead, PaperHead
from instancefcn.classifier.pooling import GRID


def inputs() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    maps = [torch.randn(1, 5, 8, 10), torch.randn(1, 7, 4, 5)]
    boxes = torch.tensor([[8.0, 16, 100, 90], [0, 0, 150, 120]])
    return maps, boxes, (torch.rand(2, GRID, GRID) > 0.5).float()


def test_the_papers_head_is_as_wide_as_vgg16s() -> None:
    config = load_classifier_recipe("paper").classifier
    with torch.device("meta"):
        head = PaperHead([512], config.strides, 20, config.width)
    one_path = 512 * 7 * 7 * 4096 + 4096 + 4096 * 4096 + 4096
    assert sum(p.numel() for p in head.box.parameters()) == one_path
    assert sum(p.numel() for p in head.parameters()) == 2 * one_path + 2 * 4096 * 21 + 21


def test_both_heads_look_inside_the_mask() -> None:
    """What lies outside the mask reaches the masked path of neither; the box path sees it."""
    maps, boxes, masks = inputs()
    for head in (PaperHead([5], [16], 3, width=8), LiteHead([5, 7], [16, 32], 3, width=8, reduced=6)):
        head.eval()
        own = maps[:1] if isinstance(head, PaperHead) else maps
        seen: list[torch.Tensor] = []
        head.masked.register_forward_hook(lambda module, given, made, seen=seen: seen.append(given[0]))
        logits = head(own, boxes, masks)
        assert logits.shape == (2, 4)
        assert not torch.equal(logits, head(own, boxes, torch.ones_like(masks)))
        assert not torch.allclose(seen[0], seen[1])


def test_an_empty_mask_and_no_box_give_numbers() -> None:
    maps, boxes, masks = inputs()
    head = LiteHead([5, 7], [16, 32], 3, width=8, reduced=6).eval()
    assert head(maps, boxes, torch.zeros_like(masks)).isfinite().all()
    assert head(maps, boxes[:0], masks[:0]).shape == (0, 4)


def test_a_box_is_named_alike_whatever_stands_beside_it() -> None:
    maps, boxes, masks = inputs()
    head = LiteHead([5, 7], [16, 32], 3, width=8, reduced=6).eval()
    torch.testing.assert_close(head(maps, boxes[1:], masks[1:]), head(maps, boxes, masks)[1:])
