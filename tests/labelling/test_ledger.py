from __future__ import annotations

from pathlib import Path

import pytest

from instancefcn.labelling.ledger import Entry, Ledger


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def ledger(out: Path) -> Ledger:
    return Ledger(out / "proposals", out / "written.jsonl")


def write(out: Path, name: str, text: str, number: int = 1, image: str = "") -> bool:
    """Place a file by a ledger that is read anew."""
    staged = out / "staged"
    out.mkdir(exist_ok=True)
    staged.write_text(text)
    placed = ledger(out).place(staged, Entry(name, number, image))
    assert not staged.exists()
    return placed


def test_what_was_written_is_ours_until_it_changes(out: Path) -> None:
    assert write(out, "sub/a.json", "one")
    path = out / "proposals/sub/a.json"
    assert ledger(out).is_ours("sub/a.json")
    assert ledger(out).persons() == []
    path.write_text("two")
    assert not ledger(out).is_ours("sub/a.json")
    assert ledger(out).is_persons("sub/a.json")
    assert ledger(out).persons() == ["sub/a.json"]


def test_ours_is_written_over_and_a_persons_never(out: Path) -> None:
    write(out, "a.json", "one")
    assert write(out, "a.json", "two")
    path = out / "proposals/a.json"
    assert path.read_text() == "two"
    path.write_text("corrected")
    assert not write(out, "a.json", "three")
    (out / "proposals/b.json").write_text("a person's own")
    assert not write(out, "b.json", "three")
    assert (path.read_text(), (out / "proposals/b.json").read_text()) == ("corrected", "a person's own")
    assert ledger(out).persons() == ["a.json", "b.json"]


def test_an_interruption_between_entry_and_file_leaves_ours_ours(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(out, "a.json", "one")

    def interrupt(path: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupt)
        for name in ("a.json", "b.json"):
            (out / "staged").write_text("two")
            with pytest.raises(KeyboardInterrupt):
                ledger(out).place(out / "staged", Entry(name, 2))
    assert ledger(out).is_ours("a.json")  # still the old one
    with (out / "written.jsonl").open("a") as file:
        file.write('{"file": "c.js')  # a line that was cut
    assert ledger(out).persons() == []
    (out / "proposals/b.json").write_text("two")  # the bytes that were entered
    assert ledger(out).is_ours("b.json")


def test_an_entry_after_a_cut_line_is_a_line_of_its_own(out: Path) -> None:
    write(out, "a.json", "one")
    with (out / "written.jsonl").open("a") as file:
        file.write('{"file": "c.js')
    write(out, "b.json", "two")
    write(out, "c.json", "three")
    assert ledger(out).persons() == []
    assert "" not in (out / "written.jsonl").read_text().split("\n")[:-1]


def test_an_image_is_finished_when_all_its_files_are_of_the_round(out: Path) -> None:
    write(out, "a.json", "one", 1, "a.png")
    write(out, "b.json", "one", 1, "b.png")
    write(out, "c.json", "one", 1, "c.png")
    write(out, "b.json", "two", 2, "b.png")
    (out / "proposals/c.json").write_text("corrected")
    assert ledger(out).finished(1) == {"a.png": ""}
    assert ledger(out).finished(2) == {"b.png": ""}


def test_a_file_of_another_format_finishes_no_image(out: Path) -> None:
    for name, form in (("a.json", "labelme"), ("b.json", "labelme"), ("masks/b.png", "labels")):
        (out / "proposals").mkdir(parents=True, exist_ok=True)
        (out / "staged").write_text(name)
        ledger(out).place(out / "staged", Entry(name, 1, f"{Path(name).stem}.jpg", form))
    assert ledger(out).finished(1, "labelme") == {"a.jpg": "", "b.jpg": ""}
    assert ledger(out).finished(1, "labels") == {"b.jpg": ""}
    assert ledger(out).entries["masks/b.png"].form == "labels"


def test_a_file_for_all_finishes_the_images_that_it_holds(out: Path) -> None:
    for number, name, held in ((1, "a.json", ["a.png", "b.png"]), (1, "b.json", ["b.png"]), (2, "c.json", ["c.png"])):
        (out / "proposals").mkdir(parents=True, exist_ok=True)
        (out / "staged").write_text(name)
        made_of = dict.fromkeys(held, f"of {name}")
        ledger(out).place(out / "staged", Entry(name, number, "", "coco", made_of))
    assert ledger(out).finished(1, "coco") == {"a.png": "of a.json", "b.png": "of b.json"}
    (out / "proposals/a.json").write_text("changed")
    assert ledger(out).finished(1, "coco") == {"b.png": "of b.json"}


def test_files_of_an_image_are_removed_as_long_as_they_are_ours(out: Path) -> None:
    for name, image in (("a.json", "a.png"), ("b.json", "b.png"), ("c.json", "c.png"), ("all.yaml", "")):
        write(out, name, "one", 1, image)
    (out / "proposals/b.json").write_text("corrected")
    kept = {(out / "proposals/c.json").resolve()}
    assert ledger(out).remove({"a.png", "b.png", "c.png", ""}, kept) == ["a.json"]
    assert sorted(path.name for path in (out / "proposals").iterdir()) == ["all.yaml", "b.json", "c.json"]
    assert ledger(out).remove({"a.png"}) == []
    assert write(out, "a.json", "two", 2, "a.png")


def test_hidden_files_and_names_that_lead_out(out: Path) -> None:
    write(out, "a.json", "one")
    (out / "proposals/.DS_Store").write_text("x")
    assert ledger(out).persons() == []
    (out / "staged").write_text("x")
    with pytest.raises(ValueError, match="leads out"):
        ledger(out).place(out / "staged", Entry("../a.json", 1))
