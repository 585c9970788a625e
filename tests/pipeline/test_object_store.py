"""The line on an object store: sources and run on S3, from a real S3 endpoint on this machine."""

import socket
import subprocess
import sys
import time

import fsspec
import pytest
from test_runner import digests

from pipeline import storage, view
from pipeline.dataset import Dataset
from pipeline.dedup.near import Dedup
from pipeline.dedup.signatures import Signatures
from pipeline.dedup.urls import Urls
from pipeline.errors import RequestError
from pipeline.extract import Extract
from pipeline.runner import Runner, RunOptions
from pipeline.sources import Read, Source, list_sources
from tests.dask_workers import on_lasting_workers

PAGE = (
    "<html><body><h1>Page {n}</h1><p>"
    + "This is the {n}th page, and it says something about sums. " * 8
    + "</p></body></html>"
)


@pytest.fixture(scope="module")
def bucket():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    patch = pytest.MonkeyPatch()  # by environment, as a user would: workers and their children inherit it
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("no_proxy", "127.0.0.1")
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    fsspec.filesystem("s3").mkdir("mill")
    yield "s3://mill"
    fsspec.filesystem("s3").clear_instance_cache()
    server.kill()
    server.wait()
    patch.undo()


def line(folder, source, options=None):
    """On workers of its own, unless `options` say otherwise: they find the store by this process's environment."""
    with Runner(folder, options or RunOptions(workers=1, quiet=True)) as runner:
        list_sources(folder, [Source(name="pages", path=source)])
        return [runner.run(stage) for stage in (Read(), Urls(), Extract(), Signatures(), Dedup())]


def test_the_same_line_gives_the_same_shards_on_disk_and_on_s3(tmp_path, bucket):
    pages = {f"pages/{n}.html": PAGE.format(n=n).encode() for n in range(6)} | {
        "pages/twin.html": PAGE.format(n=3).encode()
    }
    for name, page in pages.items():
        storage.write_bytes(f"{bucket}/{name}", page)
        storage.write_bytes(str(tmp_path / name), page)
    line(f"{bucket}/run", f"{bucket}/pages")
    line(str(tmp_path / "run"), str(tmp_path / "pages"), on_lasting_workers())
    for name in ("read", "urls", "documents", "dedup"):
        there, here = (Dataset.open(f"{run}/{name}") for run in (f"{bucket}/run", tmp_path / "run"))
        assert [s.sha256 for s in there.shards] == [s.sha256 for s in here.shards]
    assert digests(tmp_path / "run", "dedup")
    again = line(f"{bucket}/run", f"{bucket}/pages")
    assert [summary.tasks_run for summary in again] == [0, 0, 0, 0, 0]
    ((copies,),) = (
        view.connect(f"{bucket}/run")
        .execute("SELECT count(*) FROM docs WHERE dedup_of IS NOT NULL")
        .fetchall()
    )
    assert copies == 1


def test_a_missing_bucket_is_one_sentence(tmp_path, bucket):
    with pytest.raises(RequestError, match="there is nothing at s3://none"):
        list_sources(str(tmp_path), [Source(name="pages", path="s3://none/pages")])
