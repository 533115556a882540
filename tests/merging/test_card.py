"""The model card, read back by a parser of Markdown."""

import re

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fusion_bench.merging.card import Input, as_text, model_card

NAMES = st.text(st.sampled_from("ab1 |`*_<>[]()&;~\\\\!#\n\r\t\"'\u2028-"), max_size=12)


def shown(markdown):
    """What a reader sees of each block of text, and the content of code blocks."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    found, code = [], []
    for token in parser.parse(re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)):
        if token.type == "inline":
            found.append("".join(child.content for child in token.children))
        elif token.type == "fence":
            code.append(token.content)
    return found, code


def plain(words):
    return " ".join(words.split())


@given(NAMES, NAMES, NAMES, NAMES)
@example("a|b", "x`y`|z", "new\nline", "mit | gpl")
@example("\\\\", "\\\\|", "a\\\\`", "<b>x</b>")
@example("__a__", "_b_", "~~c~~", "[x](y)")
def test_every_cell_shows_what_it_is_given(name, label, file, licence):
    inputs = [Input(f"expert {name}", f"m/{label}", ((f"f{file}", 7, "c0ffee"),), f"l{licence}")]
    card = model_card(f"t{name}", f"m{name}", {"density": 0.2}, inputs, [f"n{label}"], "blake3")
    found, code = shown(card)
    assert found[0] == plain(f"t{name}")
    assert found[1].startswith(f"Merged with {plain(f'm{name}')} by fusion_bench")
    table = found.index("role")
    cells = found[table : table + 12]
    assert cells[6:] == list(map(plain, (f"expert {name}", f"m/{label}", f"f{file}", "7", "c0ffee", f"l{licence}")))
    assert found[table + 13] == plain(f"n{label}")
    assert yaml.safe_load(code[0])["density"] == 0.2
    front = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, flags=re.DOTALL)[1])
    assert front["base_model"] == [f"m/{label}"]  # to the letter


def test_options_do_not_end_their_block():
    options = {"between": ["x\n\n````\n", "y"]}
    _, code = shown(model_card("t", "slerp", options, [], [], None))
    assert yaml.safe_load(code[0]) == {"type": "slerp", **options}


def test_what_means_nothing_in_markdown_is_left_as_it_is():
    for words in ("experts/my_model-v2.1 (a, b): c", "/data/llama_3/x.safetensors", "expert 0"):
        assert as_text(words) == words
