"""The tables of kernels/README.md are those that the tree and the kept records make."""

import json

import pytest

from fastdl.bench import report, shapes


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
    for name, record in kept.items():
        assert f"| {name}, {record['date']}, {record['commit'][:7]} |" in table.splitlines()[0]
        for row in record["rows"]:
            if row["folder"] in report.APART:
                continue
            assert f"| {row['op']} {row['variant']}".rstrip() in table
            if ratio := report.pytorch(row):
                assert f"{ratio:.1f} x, {row['percent_of_floor']:.0f} %" in table


def record(*rows, cache=1000):
    machine = {"processor": "a processor", "cores": 2, "python": "3", "settings": {"OPENBLAS_L2_SIZE": "512"}}
    machine |= {"last_cache_bytes": cache, "blas": [{"api": "openblas", "version": "1", "core": "Zen"}]}
    machine |= {"peers": {"torch": {"version": "2"}, "torch.compile": {"version": "2"}, "jax": "not installed"}}
    return {"commit": "0123456789abcdef", "date": "2026-01-02", "machine": machine, "rows": list(rows)}


def row(op, shape="1000", variant="", folder="add", moved=2000, **peers):
    found = {"folder": folder, "op": op, "variant": variant, "shape": shape, "quartiles": [1e-3, 2e-3, 3e-3]}
    return found | {"peers": peers, "percent_of_floor": 50.0, "flops": 1e6, "bytes": moved}


@pytest.fixture
def shown(monkeypatch):
    def show(**records):
        monkeypatch.setattr(report, "records", lambda: records)
        monkeypatch.setattr(report, "SHOWN", next(iter(records)))

    return show


def test_pytorch_is_the_better_of_eager_and_compiled_everywhere(shown):
    both = {"torch": 3.0, "torch.compile": 2.0}
    shown(a=record(row("add", **both), row("train step", folder="step", **both), row("mul", torch=4.0), row("none")))
    assert "| add | 1000 | 2.0 x, 50 % |" in report.figures()
    assert "| mul | 1000 | 4.0 x, 50 % |" in report.figures()
    assert "| none | 1000 | 50 % |" in report.figures()
    assert "| add | 1000 | 0 | 50 % | 2.00 |" in report.beyond_the_caches()
    assert "| train step 1000 | 2 (1 to 3) | 50 % | 2.00 |" in report.beside_peers()


def test_every_network_stands_once_with_its_own_single_thread(shown):
    other = row("train step", "9-9", "1 thread", "growth") | {"quartiles": [1.0, 1.0, 1.0]}
    steps = [row("train step", "9-9", folder="growth", **{"1 thread": ratio}) for ratio in (1.25, 1.75)]
    shown(a=record(steps[0], other, steps[1], other))
    assert report.growth().splitlines()[2:] == ["| 9-9 | 2,000 | 1.25 | 0 | 50 % |"]
    assert len(set(shapes.SHAPES["growth"])) == len(shapes.SHAPES["growth"])


def test_what_the_last_cache_holds_is_not_beyond_it(shown):
    shown(a=record(row("small", moved=1000), row("large", moved=1001)))
    assert [line[:9] for line in report.beyond_the_caches().splitlines()[4:]] == ["| large |"]


def test_records_are_told_apart_by_name_commit_and_settings(shown):
    shown(a=record(), b=record() | {"note": "a second run"})
    assert report.figures().splitlines()[0] == "| op | shape | a, 2026-01-02, 0123456 | b, 2026-01-02, 0123456 |"
    assert "| b | a processor, 2 cores | 2026-01-02 | 0123456 | OPENBLAS_L2_SIZE=512 | a second run |" in (
        report.described()
    )
    assert report.measured_on() == (
        "Measured on 2026-01-02 at commit 0123456, kept as `bench/results/a.json`: a processor, 2 cores, Python 3, "
        "openblas 1 (Zen kernels), OPENBLAS_L2_SIZE=512; torch 2; not installed: jax."
    )


def test_the_shown_record_is_the_one_that_is_named(monkeypatch):
    monkeypatch.setattr(report, "SHOWN", "elsewhere")
    with pytest.raises(ValueError, match=r"^report: SHOWN is 'elsewhere', wanted a record of .*: cpu-"):
        report.shown()


def test_records_of_tiny_shapes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(record() | {"tiny": True}))
    with pytest.raises(ValueError, match=r"a\.json is of --tiny"):
        report.records()
    with pytest.raises(SystemExit, match="is of --tiny"):
        report.main()


def test_outside_of_a_checkout_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "PAGES", (tmp_path / "README.md",))
    with pytest.raises(SystemExit, match=r"^report: there is no .*README\.md; .* checkout's pages"):
        report.main()


def test_the_page_and_the_module_tell_the_same_commands(root):
    commands = [line for line in report.__doc__.splitlines() if "#" in line]
    assert len(commands) == 2
    page = (root / "docs/performance.md").read_text()
    assert "".join(f"    {line}\n" for line in commands) in page
