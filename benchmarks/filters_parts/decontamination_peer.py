"""datatrove's n-gram decontamination on the same texts, in the environment that benchmarks/dedup_parts/peers.py makes.

Its indexer cannot be made without lighteval, even for problems of one's own, so the index is written here with the
filter's own words, normalisation and hash: all 12-grams of each problem. One of them in a document is enough for it.
`python benchmarks/filters_parts/decontamination_peer.py FILE` reads {"problems": […], "texts": {kind: […]}} and prints how
many texts of each kind are flagged, and documents per CPU second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def measure(problems: list[str], texts: dict[str, list[str]]) -> dict[str, Any]:
    """{"flagged": {kind: number}, "per_second": documents}. Raises `LeftOut` when datatrove cannot be installed."""
    from benchmarks.dedup_parts.peers import environment
    from benchmarks.dedup_parts.report import LeftOut

    python = environment("datatrove", ROOT / "runs/dedup")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"problems": problems, "texts": texts}, file)
        file.flush()
        done = subprocess.run([python, __file__, file.name], capture_output=True, text=True)
    if done.returncode:
        raise LeftOut(f"datatrove: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(file: str) -> None:
    import numpy as np
    from datatrove.data import Document
    from datatrove.pipeline.decont import NGramsDecontFilter
    from datatrove.utils.text import ngrams, simplify_text

    given = json.loads(Path(file).read_text())
    with tempfile.TemporaryDirectory() as folder:
        step = NGramsDecontFilter(folder)
        hashes = {
            step.hash_func(" ".join(gram))
            for problem in given["problems"]
            for gram in ngrams(
                step.tokenizer.word_tokenize(simplify_text(problem, step.config.norm_config)),
                step.config.n_grams,
            )
        }
        array = np.array(sorted(hashes), step.config.hash_config.np_descr)
        array.tofile(f"{folder}/problems.index.hashes")
        step.load_index_hashes()
        flagged, documents, begin = {}, 0, time.process_time()
        for kind, texts in given["texts"].items():
            flagged[kind] = sum(step.filter(Document(text=text, id="")) is not True for text in texts)
            documents += len(texts)
        print(json.dumps({"flagged": flagged, "per_second": documents / (time.process_time() - begin)}))


if __name__ == "__main__":
    main(sys.argv[1])
