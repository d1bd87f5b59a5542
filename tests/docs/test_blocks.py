"""The finder of blocks itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_blocks import blocks, commands, missing_output

PAGE = """# Title

```python
a = 1
```

<!-- not run: needs a cluster -->
```console
$ kinocyte run
```

<!-- exit code: 2 -->
```console
$ kinocyte wrong
```

- A list

    ```toml title="pipeline.toml"
    name = "x"
    ```

````markdown
```python
not a block of its own
```
````
"""


def test_blocks_are_found_with_what_is_said_about_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    first, second, third, fourth, fifth = blocks(page)
    assert (first.language, first.text, first.line, first.reason) == ("python", "a = 1\n", 3, None)
    assert second.reason == "needs a cluster"
    assert third.exit_code == 2
    assert (fourth.language, fourth.title, fourth.text) == ("toml", "pipeline.toml", 'name = "x"\n')
    assert fifth.language == "markdown"


def test_a_block_without_end_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md:1: the block has no end"):
        blocks(page)


def test_commands_are_told_from_output() -> None:
    text = "$ kinocyte import \\\n>   movie.tif\nwritten\n\n$ kinocyte status\n"
    assert commands(text) == [("kinocyte import   movie.tif", ["written"]), ("kinocyte status", [])]


@pytest.mark.parametrize(
    ("promised", "missing"),
    [
        (["two"], None),
        (["one", "thr..."], None),
        (["th...e 3"], None),
        (["..."], None),
        (["two", "one"], "one"),
        (["four"], "four"),
        (["three   3"], None),
    ],
)
def test_promised_output_is_looked_for_in_order(promised: list[str], missing: str | None) -> None:
    assert missing_output(promised, "one\ntwo\nthree 3\n") == missing
