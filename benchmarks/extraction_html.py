"""Our HTML extraction beside trafilatura, resiliparse, readability + html2text and html-to-markdown.

    python benchmarks/extraction_html.py [KIND …] [--quick] [--tools ours,resiliparse] [--worst 5] [--profile] [--work DIR]

Kinds: wcxb (general pages), threads (forum pages), written (threads that we wrote), maths (our formulas in every encoding),
ccmath (real pages with formulas), documents (code and formulas of Debian's documentation), speed. Without one, all. A
table each, and at the end one with what has to be reached; a Markdown copy of all goes to DIR/table.md. The exit code is 1
when ours misses a mark, and 2 when it misses none but something that was asked for is not there to be measured. --quick takes some pages of everything (two minutes of CPU time).

trafilatura and resiliparse come with the project. For the other two peers, and for the programs that set formulas, once:

    python benchmarks/extraction_html.py --install

which is `pip install --target DIR/peers readability-lxml html2text html-to-markdown` and `npm install --prefix DIR/node`
with KaTeX, Temml and MathJax 2 to 4. What is not there is left out with a word: a peer, an encoding, the packages of Debian (apt-get download).

Each page is extracted in a process of its tool, held to 20 CPU seconds and 4 GiB; what it said is kept in DIR by tool,
version and page (ours by a digest of its sources), so that a run goes on where it was stopped. Speed is measured anew.
Pages and truth: WCXB (CC-BY-4.0), ccmath (Apache-2.0), Debian's documents (PSF-2.0, BSD-3, LGPL-2.1+); formulas and
threads were written for this and are in extraction_html_parts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.extraction_html_parts.documents import documents
from benchmarks.extraction_html_parts.formulas import NODE_PACKAGES
from benchmarks.extraction_html_parts.general import wcxb
from benchmarks.extraction_html_parts.maths import ccmath, maths
from benchmarks.extraction_html_parts.report import Row, Run, as_markdown, console, show
from benchmarks.extraction_html_parts.speed import profile, speed
from benchmarks.extraction_html_parts.threads import threads, written
from benchmarks.extraction_html_parts.tools import TOOLS, LeftOut, Tool

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "extraction"
WORK = ROOT / "runs" / "extraction_html"
PEERS = ("readability-lxml", "html2text", "html-to-markdown", "cssselect", "chardet")

KINDS = {
    "wcxb": wcxb,
    "threads": threads,
    "written": written,
    "maths": maths,
    "ccmath": ccmath,
    "documents": documents,
    "speed": speed,
}


def install(options: argparse.Namespace) -> None:
    """Fetch the peers and the programs that set formulas."""
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(options.peers), *PEERS]
    subprocess.run(pip, check=True)
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(options.node), *NODE_PACKAGES],
        check=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="kind", help=f"of {', '.join(KINDS)}; default all")
    parser.add_argument("--tools", default=",".join(TOOLS), help="default: %(default)s")
    parser.add_argument("--wcxb", type=Path, default=DATA / "wcxb_dev", help="folder of WCXB pages")
    parser.add_argument(
        "--work",
        type=Path,
        default=WORK,
        help="answers, generated pages, tables; default runs/extraction_html",
    )
    parser.add_argument("--peers", type=Path, help="folder of `pip install --target`; default DIR/peers")
    parser.add_argument("--ccmath", type=Path, default=DATA / "ccmath", help="folder of the ccmath pages")
    parser.add_argument("--node", type=Path, help="folder with node_modules; default DIR/node")
    parser.add_argument(
        "--worst", type=int, default=0, metavar="N", help="show our N worst pages of each kind"
    )
    parser.add_argument("--profile", action="store_true", help="where our time goes")
    parser.add_argument(
        "--install", action="store_true", help="fetch the peers and the node packages, and stop"
    )
    parser.add_argument("--quick", action="store_true", help="a sample of everything")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    options.peers = options.peers or options.work / "peers"
    options.node = options.node or options.work / "node"
    if options.install:
        install(options)
        return
    tools = []
    for name in options.tools.split(","):
        if name not in TOOLS:
            parser.error(f"no such tool: {name}; there are {', '.join(TOOLS)}")
        try:
            tools.append(Tool(name, str(options.peers), options.work))
        except LeftOut as error:
            console.print(str(error), markup=False)
    run = Run(tools, options)
    names = [tool.name for tool in tools]
    tables, marked = [], list[Row]()
    for kind in options.kinds or KINDS:
        title = (KINDS[kind].__doc__ or kind).split("\n")[0]
        try:
            rows = KINDS[kind](run)
        except LeftOut as reason:
            run.leave_out(f"{kind}: {reason}")
            continue
        console.print(show(title, rows, names))
        tables.append(as_markdown(title, rows, names))
        marked += [row for row in rows if row.target is not None]
    title = "What has to be reached"
    console.print(show(title, marked, names))
    tables.insert(0, as_markdown(title, marked, names))
    for what in run.left_out:
        console.print(f"not measured: {what}", style="bold", markup=False)
        tables.insert(1, f"Not measured: {what}\n")
    (options.work / "table.md").write_text("\n".join(tables), encoding="utf-8")
    for kind, found in run.worst.items() if options.worst else ():
        found = sorted(one for one in found if one[0] < 1)
        if found:
            console.print(f"\nworst, {kind}", style="bold", markup=False)
        for score, name, what in found[: options.worst]:
            console.print(f"  {score:.2f} {name}  {what}", markup=False, soft_wrap=True)
    if options.profile:
        profile(run)
    for tool in tools:
        tool.close()
    if "ours" not in names or any(row.met is False for row in marked):
        sys.exit(1)
    sys.exit(2 if run.left_out else 0)


if __name__ == "__main__":
    main()
