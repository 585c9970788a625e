"""The notebooks run as they are, on a finished run, and show what is in it."""

from pathlib import Path

import duckdb
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def texts(cell):
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_short_and_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 12
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None, (
            "clear the outputs before keeping it"
        )


def test_the_run_notebook_shows_the_run(finished_run, monkeypatch):
    monkeypatch.setenv("REASONMILL_RUN", str(finished_run))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(ROOT / "notebooks" / "run.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = "\n".join(texts(cell) for cell in cells)
    documents = duckdb.sql(f"SELECT count(*) FROM '{finished_run}/documents/*.parquet'").fetchall()[0][0]
    kept = duckdb.sql(f"SELECT count(*) FROM '{finished_run}/policy/*.parquet'").fetchall()[0][0]
    assert f"{kept:,} of {documents:,} documents kept" in shown
    pictures = [o for cell in cells for o in cell.outputs if "image/png" in o.get("data", {})]
    there = [(finished_run / part).exists() for part in ("mixture/manifest.json", "pretrain/metrics.jsonl")]
    assert len(pictures) == 2 + sum(there)
    best = cells[3].outputs[0]["text"].splitlines()
    scores = [float(line.split()[0]) for line in best]
    assert len(scores) == min(10, kept) and scores == sorted(scores, reverse=True)


def test_the_rl_notebook_shows_curves_fates_and_answers(finished_run, monkeypatch):
    monkeypatch.setenv("REASONMILL_RUN", str(finished_run))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(ROOT / "notebooks" / "rl.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "rl-zero, rl" in texts(cells[0])
    assert sum("image/png" in output.get("data", {}) for output in cells[1].outputs) == 1
    counted = sum(
        int(line.split(" answers")[0].split()[-1].replace(",", "")) for line in texts(cells[2]).splitlines()
    )
    stored = duckdb.sql(
        f"SELECT (SELECT count(*) FROM '{finished_run}/rl-zero/rollouts/*.parquet') + (SELECT count(*) FROM '{finished_run}/rl/rollouts/*.parquet')"
    ).fetchall()[0][0]
    assert counted == stored > 0
    assert len(texts(cells[3]).splitlines()) == 1 + 4  # the question, and a group's answers
