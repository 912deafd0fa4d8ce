"""The README's examples do what they say."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_examples_run(tmp_path, monkeypatch):
    """One after the other, as a reader would paste them."""
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 2
    monkeypatch.chdir(tmp_path)
    session = {}
    for example in examples:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(example, str(README), "exec"), session)
        (promised,) = re.findall(r"print\(.*#\s*(.+)", example)
        assert output.getvalue().strip() == promised
    assert (tmp_path / "stain.json").is_file()
