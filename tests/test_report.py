"""The tables of kernels/README.md are those that the tree and the kept records make."""

import pytest

from fastdl.bench import report


@pytest.mark.parametrize("page", report.PAGES, ids=lambda page: page.parent.name)
def test_tables_are_up_to_date(page):
    text = page.read_text()
    assert report.written(text) == text, "run python -m fastdl.bench.report"


def test_every_table_stands_on_a_page():
    texts = "".join(page.read_text() for page in report.PAGES)
    assert all(f"<!-- {name} -->\n" in texts and f"<!-- end of {name} -->" in texts for name in report.TABLES)


def test_catalogue_holds_every_folder(root):
    folders = {path.parent.name for path in (root / "kernels").glob("*/__init__.py")} - {"control"}  # which is no op
    rows = [line for line in report.catalogue().splitlines() if line.startswith("| [")]
    assert {row[3 : row.index("]")] for row in rows} == folders
    for folder in folders:
        for file in ("README.md", "reference.py", "cpu.py"):
            assert (root / "kernels" / folder / file).is_file(), f"{folder} lacks {file}"
        assert any((root / "kernels" / folder).glob("cuda.cu*")), f"{folder} lacks cuda.cu"


def test_figures_are_those_of_the_records():
    kept = report.records()
    assert kept
    table = report.figures()
    for record in kept:
        for row in record["rows"]:
            if row["folder"] in report.APART:
                continue
            assert f"| {row['op']} {row['variant']}".rstrip() in table
            ratio = row["peers"].get("torch")
            if isinstance(ratio, float):
                assert f"{ratio:.1f} x, {row['percent_of_floor']:.0f} %" in table
