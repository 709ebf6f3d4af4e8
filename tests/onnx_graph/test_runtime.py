from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from PIL import Image

from instancefcn.objects import ANY_NUMBER
from instancefcn.proposals import Proposals
from instancefcn.runtime import METADATA, OnnxProposer
from onnx_graph.small import RULE, Exported, picture

pytestmark = pytest.mark.usefixtures("one_thread")
ProposerOf = Callable[..., OnnxProposer]


def test_it_imports_no_torch(single: Exported, proposer_of: ProposerOf, tmp_path: Path) -> None:
    expected = proposer_of(single)(picture(40, 50))
    Image.fromarray(picture(40, 50)).save(tmp_path / "image.png")
    program = (
        "import sys; from instancefcn.runtime import OnnxProposer; "
        f"proposals = OnnxProposer({str(tmp_path / 'graph.onnx')!r}, threads=1)({str(tmp_path / 'image.png')!r}); "
        "print(len(proposals), [name for name in ('torch', 'timm', 'torchvision', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [str(len(expected)), "[]\n"]


def test_proposals_carry_the_rule_of_the_checkpoint(single: Exported, proposer_of: ProposerOf) -> None:
    proposer, image = proposer_of(single), picture(64, 80)
    assert proposer.rule == RULE
    found = proposer(image)
    assert proposer([image, image[:40]]) == [found, proposer(image[:40])]
    assert proposer(image, max_proposals=3) == found[:3]
    assert proposer([image], min_score=float(found.scores[4])) == [found[:5]]
    with pytest.raises(ValueError, match="max_proposals must be 0 or more"):
        proposer(image, max_proposals=-1)
    with pytest.raises(TypeError, match="image"):
        proposer(b"content")  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.warns(UserWarning, match="there may be more objects: the graph gave all its 30 candidates"):
        assert proposer.objects([image]) == [found.objects()]


def test_it_pickles_as_what_it_was_opened_with(single: Exported, proposer_of: ProposerOf, tmp_path: Path) -> None:
    image = picture(64, 80)
    proposer_of(single)
    asked = OnnxProposer(tmp_path / "graph.onnx", threads=2)
    other = pickle.loads(pickle.dumps(asked))
    assert other(image) == asked(image)
    assert other.session.get_session_options().intra_op_num_threads == 2


def test_providers_are_asked_for(single: Exported, proposer_of: ProposerOf, tmp_path: Path) -> None:
    proposer_of(single)
    with pytest.warns(UserWarning, match="'NoSuchExecutionProvider' is not in available provider names"):
        OnnxProposer(tmp_path / "graph.onnx", providers=["NoSuchExecutionProvider"])


def test_masks_that_take_too_much_memory_are_told_of(single: Exported, proposer_of: ProposerOf) -> None:
    proposer = proposer_of(single)

    class Full:
        def get_outputs(self) -> list[object]:
            return []

        def run(self, *_: object) -> list[object]:
            raise RuntimeError(self.message)

    proposer.session = full = Full()
    full.message = "bfc_arena.cc:359 Failed to allocate memory for requested buffer of size 123"
    with pytest.raises(MemoryError, match=r"masks of 60 x 48 pixels: .* --windows"):
        proposer(picture(48, 60))
    full.message = "another fault"
    with pytest.raises(RuntimeError, match="another fault"):
        proposer(picture(48, 60))


def test_a_graph_of_objects_chooses_none_again(single: Exported, proposer_of: ProposerOf) -> None:
    proposer = proposer_of(single, objects=True)
    assert isinstance(proposer(picture(48, 60)), Proposals)
    with pytest.raises(ValueError, match="chooses objects itself"):
        proposer.objects(picture(48, 60))


def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing.onnx: no such file"):
        OnnxProposer(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ValueError, match=r"text.onnx: ONNX Runtime can't read it"):
        OnnxProposer(tmp_path / "text.onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Abs", ["x"], ["y"])], "another", [value], [other])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / "another.onnx")
    with pytest.raises(ValueError, match=r"another.onnx: no graph of this version's"):
        OnnxProposer(tmp_path / "another.onnx")


def test_a_rule_of_before_is_read_as_a_checkpoints_is(
    single: Exported, proposer_of: ProposerOf, tmp_path: Path
) -> None:
    proposer_of(single)
    path = tmp_path / "graph.onnx"
    model = onnx.load(path)
    (about,) = (entry for entry in model.metadata_props if entry.key == METADATA)
    table = json.loads(about.value)

    def opened(told: str) -> OnnxProposer:
        about.value = told
        onnx.save(model, path)
        return OnnxProposer(path)

    before = {key: value for key, value in table["rule"].items() if key not in ("max_inside", "alike")}
    assert opened(json.dumps(table | {"rule": before})).rule == replace(RULE, max_inside=ANY_NUMBER, alike=1.0)
    unknown = before | {"colour": 1}
    for told in ("{", "[]", json.dumps(table | {"rule": unknown}), json.dumps({"format": table["format"]})):
        with pytest.raises(ValueError, match=r"graph.onnx: .*; write it again"):
            opened(told)
