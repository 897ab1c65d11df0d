"""Ontologies: order, lookups, YAML in both directions, and refused input."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from grounded_sam2.config.yaml_files import shipped_names
from grounded_sam2.errors import OntologyError
from grounded_sam2.ontology import CaptionOntology

BALLS = {"red circle": "ball", "orange circle": "ball", "blue square": "box"}
ALTERNATING = {"red circle": "ball", "blue square": "box", "orange circle": "ball"}


def write(folder: Path, text: str) -> Path:
    path = folder / "cars.yaml"
    path.write_text(text, encoding="utf-8")
    return path


class TestMapping:
    def test_captions_and_classes_keep_their_order_and_classes_are_unique(self) -> None:
        ontology = CaptionOntology({"z": "two", "a": "one", "m": "two"})
        assert ontology.prompts() == ["z", "a", "m"]
        assert ontology.classes() == ["two", "one"]
        assert [ontology.class_id(name) for name in ontology.classes()] == [0, 1]
        assert len(ontology) == 3

    def test_captions_map_to_classes_and_classes_to_captions(self) -> None:
        ontology = CaptionOntology(ALTERNATING)
        assert [ontology.caption_to_class(caption) for caption in ontology.prompts()] == [
            "ball",
            "box",
            "ball",
        ]
        assert ontology.class_to_captions("ball") == ["red circle", "orange circle"]
        assert ontology.class_to_captions("box") == ["blue square"]
        assert ontology.to_dict() == ALTERNATING

    def test_lookups_are_also_available_under_their_autodistill_names(self) -> None:
        ontology = CaptionOntology(BALLS)
        assert ontology.promptToClass("orange circle") == "ball"
        assert ontology.classToPrompt("ball") == "red circle"
        with pytest.raises(ValueError, match="no class 'cube'; it has ball, box"):
            ontology.classToPrompt("cube")

    def test_lookups_of_unknown_names_list_the_known_ones(self) -> None:
        ontology = CaptionOntology(BALLS)
        with pytest.raises(
            OntologyError, match="no caption 'ball'; it has red circle, orange circle"
        ):
            ontology.caption_to_class("ball")
        with pytest.raises(OntologyError, match="no class 'red circle'; it has ball, box"):
            ontology.class_id("red circle")

    def test_returned_lists_are_copies(self) -> None:
        ontology = CaptionOntology(BALLS)
        ontology.prompts().clear()
        ontology.classes().clear()
        ontology.to_dict().clear()
        assert ontology == CaptionOntology(BALLS)

    def test_equality_compares_pairs_and_their_order(self) -> None:
        ontology = CaptionOntology(BALLS)
        assert ontology == CaptionOntology(dict(BALLS))
        assert hash(ontology) == hash(CaptionOntology(dict(BALLS)))
        assert ontology != CaptionOntology(dict(reversed(BALLS.items())))
        assert ontology != BALLS
        assert eval(repr(ontology)) == ontology
        assert pickle.loads(pickle.dumps(ontology)) == ontology
        assert CaptionOntology(json.loads(json.dumps(ontology.to_dict()))) == ontology

    def test_text_is_compared_after_unicode_and_whitespace_normalization(self) -> None:
        composed, decomposed = "caf\u00e9", "cafe\u0301"
        ontology = CaptionOntology({f"  {decomposed}\n table ": f" {composed}\u00a0"})
        assert ontology.prompts() == [f"{composed} table"]
        assert ontology.classes() == [composed]
        assert ontology.caption_to_class(f"{decomposed}  table") == composed
        assert ontology.class_id(decomposed) == 0

    def test_case_is_significant(self) -> None:
        assert CaptionOntology({"Turkey": "country", "turkey": "bird"}).classes() == [
            "country",
            "bird",
        ]

    def test_a_caption_repeated_for_its_class_is_one_prompt(self) -> None:
        ontology = CaptionOntology({"red circle": "ball", "red  circle": "ball"})
        assert ontology.prompts() == ["red circle"]

    @pytest.mark.parametrize(
        ("captions", "expected"),
        [
            ({}, "ontology: no captions; add a class with at least one"),
            ({"": "ball"}, "a caption of class 'ball' is empty"),
            ({" \n": "ball"}, "a caption of class 'ball' is empty"),
            ({"red circle": ""}, "the class of caption 'red circle' is empty"),
            ({1: "ball"}, r"a caption of class 'ball' is 1 \(int\), not text"),
            (
                {"red circle": None},
                r"the class of caption 'red circle' is None \(NoneType\), not text",
            ),
            ({"red circle": ["ball"]}, r"the class of caption 'red circle' is \['ball'\] \(list\)"),
            (
                {"red circle": "ball", "red  circle": "disc"},
                "caption 'red circle' is given to two classes, 'ball' and 'disc'; keep one",
            ),
            (["red circle"], r"must be a mapping of captions to classes, not \['red circle'\]"),
            ("shapes", "not 'shapes'; a YAML file is read with CaptionOntology.from_yaml"),
        ],
    )
    def test_the_error_of_an_invalid_mapping_names_the_entry(
        self, captions: dict[str, str], expected: str
    ) -> None:
        with pytest.raises(OntologyError, match=expected):
            CaptionOntology(captions)


class TestYaml:
    @pytest.mark.parametrize(
        "captions",
        [
            BALLS,
            ALTERNATING,
            {"a": "one", "b": "two", "c": "one", "d": "three", "e": "two"},
            {"红色的圆": "球", "🔴": "球", "café": "naïve", "дом": "здание", "بيت": "مبنى"},
            {"no": "on", "1": "2.5", "null": "~", "2024-01-01": "12:30", "x": "true"},
            {"a: b": "- c", "[d]": "{e}", "# f": "'g'", '"h"': "i, j", "<<": "=", "&k": "*l"},
            {f"caption {i} that makes the line longer": "one class" for i in range(50)},
        ],
        ids=[
            "grouped",
            "alternating",
            "mixed",
            "unicode",
            "not text in YAML",
            "punctuation",
            "long",
        ],
    )
    def test_yaml_round_trips(self, tmp_path: Path, captions: dict[str, str]) -> None:
        ontology = CaptionOntology(captions)
        path = tmp_path / "written.yaml"
        ontology.to_yaml(path)
        read = CaptionOntology.from_yaml(path)
        assert read == ontology
        assert read.classes() == ontology.classes()
        assert read.to_dict() == captions

    def test_written_yaml_groups_captions_by_class_in_flow_style(self, tmp_path: Path) -> None:
        path = tmp_path / "written.yaml"
        CaptionOntology(BALLS).to_yaml(path)
        assert path.read_text("utf-8") == "ball: [red circle, orange circle]\nbox: [blue square]\n"
        CaptionOntology(ALTERNATING).to_yaml(path)
        assert path.read_text("utf-8") == (
            "- ball: [red circle]\n- box: [blue square]\n- ball: [orange circle]\n"
        )

    def test_all_yaml_forms_and_styles_are_read(self, tmp_path: Path) -> None:
        flow = "ball: [red circle, orange circle]\nbox: [blue square]\n"
        block = "# balls\nball:\n  - red circle\n  - orange circle\nbox:\n  - blue square\n"
        runs = "- ball: [red circle, orange circle]\n- box: [blue square]\n"
        for text in (flow, block, runs):
            assert CaptionOntology.from_yaml(write(tmp_path, text)) == CaptionOntology(BALLS)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "no captions; add a class"),
            ("# only a comment\n", "no captions; add a class"),
            ("{}\n", "no captions; add a class"),
            ("[]\n", "no captions; add a class"),
            ("red circle\n", "must map classes to lists of captions"),
            ("- red circle\n", "must map classes to lists of captions"),
            ("van: []\n", "class 'van' has no captions; add at least one"),
            ("van:\n", "class 'van' has no captions; add at least one"),
            ("red circle: ball\n", "write `red circle: [...]`, the class first"),
            ("van: {white: van}\n", "class 'van' must have a list of captions"),
            ("van: [white van, '']\n", "a caption of class 'van' is empty"),
            ("van: [white van, ]\n'': [x]\n", "a class is empty"),
            ("van: [no]\n", "a caption of class 'van' is False (bool), not text; in YAML, quote"),
            ("van: [1]\n", "a caption of class 'van' is 1 (int), not text; in YAML, quote"),
            ("van: [~]\n", "a caption of class 'van' is None (NoneType), not text; in YAML, quote"),
            ("on: [light]\n", "a class is True (bool), not text; in YAML, quote"),
            ("van: [van]\ncar: [van]\n", "caption 'van' is given to two classes, 'van' and 'car'"),
            ("van: [a]\ncar: [b]\nvan: [c]\n", "line 3: repeats the key 'van' of line 1; keep one"),
            ("van: [a\n", "line 2"),
            ("van: !!python/name:os.system ''\n", "line 1: could not determine a constructor"),
            ("van: [2024-13-45]\n", "put the text in quotes"),
            ("? [a]\n: [b]\n", "unhashable key"),
        ],
    )
    def test_the_error_of_an_invalid_file_names_file_and_entry(
        self, tmp_path: Path, text: str, expected: str
    ) -> None:
        path = write(tmp_path, text)
        with pytest.raises(OntologyError) as caught:
            CaptionOntology.from_yaml(path)
        assert str(path) in str(caught.value)
        assert expected in str(caught.value)

    def test_missing_files_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OntologyError, match=r"none\.yaml' does not exist"):
            CaptionOntology.from_yaml(tmp_path / "none.yaml")
        with pytest.raises(OntologyError, match="did you mean 'shapes'"):
            CaptionOntology.from_yaml("shape")

    def test_binary_files_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.yaml"
        path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00")
        with pytest.raises(OntologyError, match=r"photo\.yaml' cannot be read"):
            CaptionOntology.from_yaml(path)

    def test_files_with_a_byte_order_mark_are_read(self, tmp_path: Path) -> None:
        path = tmp_path / "cars.yaml"
        for encoding in ("utf-8-sig", "utf-16"):
            path.write_bytes("véhicule: [voiture]\r\n".encode(encoding))
            assert CaptionOntology.from_yaml(path).to_dict() == {"voiture": "véhicule"}


class TestShippedOntologies:
    @pytest.mark.parametrize("name", shipped_names("ontology"))
    def test_shipped_ontologies_load(self, name: str) -> None:
        ontology = CaptionOntology.from_yaml(name)
        assert len(ontology) >= len(ontology.classes()) >= 6

    def test_five_ontologies_are_shipped_and_the_real_world_ones_have_synonyms(self) -> None:
        names = set(shipped_names("ontology"))
        assert names == {"construction-safety", "groceries", "road-traffic", "shapes", "warehouse"}
        for name in names - {"shapes"}:
            ontology = CaptionOntology.from_yaml(name)
            assert len(ontology) > 1.5 * len(ontology.classes())
        shapes = CaptionOntology.from_yaml("shapes")
        assert shapes.classes() == ["circle", "square", "triangle", "star", "ring", "cross"]
