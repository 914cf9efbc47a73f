"""Weight files by path, address and published name: accepted, refused, downloaded, and what of them is in a key."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest
import yaml

from servers import serving
from wsss.config import outside
from wsss.config.loading import ConfigError, load_run
from wsss.config.outside import OutsideFile
from wsss.config.sections import Backbone
from wsss.config.weights import known_weights
from wsss.data import download
from wsss.plan import weights
from wsss.plan.run import missing_inputs, plan_runs

PRESETS = Path(__file__).parents[2] / "workflow" / "presets"
CONTENT = os.urandom(5000)
SHA = hashlib.sha256(CONTENT).hexdigest()
HTTPS = "https://example.invalid/nets/net.pth"


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """Cache and working folder of the test's own."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(outside, "cached", lambda sha256, name: tmp_path / "cache" / sha256[:16] / name)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)


def at(url, sha256=SHA):
    """An address that the configuration would refuse, as the test's server has no certificate."""
    return OutsideFile.model_construct(file=None, published=None, url=url, sha256=sha256)


def plan(checkpoint):
    settings = {"preset": "shapes", "train_classifier": {"checkpoint": checkpoint, "training": None}}
    return plan_runs({"runs": {"r": settings}}, PRESETS)["r"]


@pytest.mark.parametrize(
    "written", ["nets/a.pth", "published:clip-vit-b16", {"url": HTTPS, "sha256": SHA}], ids=["file", "name", "address"]
)
def test_it_is_written_back_as_it_was_read(written):
    backbone = Backbone.model_validate({"name": "resnet38", "checkpoint": written})
    assert backbone.model_dump(mode="json")["checkpoint"] == written
    assert Backbone.model_validate(json.loads(backbone.model_dump_json())) == backbone


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (HTTPS, r"needs the sha256 of its file \(64 hex digits\)"),
        ({"url": HTTPS}, "needs the sha256"),
        ({"url": HTTPS, "sha256": "abc"}, "sha256: string should match pattern"),
        ({"url": HTTPS.replace("https", "http"), "sha256": SHA}, "is no https address"),
        ({"url": "file:///etc/passwd", "sha256": SHA}, "is no https address"),
        ({"file": "a.pth", "url": HTTPS, "sha256": SHA}, "give a file, published:NAME, or"),
        ("published:seem", "no published file 'seem'; did you mean 'seam'"),
    ],
)
@pytest.mark.parametrize("key", ["checkpoint", "backbone"])
def test_what_is_no_file_is_refused_in_one_line(written, line, key):
    section = {"checkpoint": written} if key == "checkpoint" else {"backbone": {"name": "a", "checkpoint": written}}
    with pytest.raises(ConfigError, match=line) as caught:
        load_run("r", {"r": {"preset": "shapes", "train_classifier": section}}, PRESETS)
    assert "\n" not in str(caught.value) and "checkpoint" in str(caught.value)


def test_a_cut_download_is_continued_and_kept():
    with serving({"/net.pth": CONTENT}) as server:
        server.behaviour, file = "cuts", at("")
        file = at(f"{server.url}/net.pth")
        assert weights.obtain(file) is None and file.path.read_bytes() == CONTENT
        assert [r for _, r in server.requests][:2] == [None, f"bytes={len(CONTENT) // 3}-"]
        asked = len(server.requests)
        assert weights.obtain(file) is None and len(server.requests) == asked


def test_another_content_is_refused_and_not_kept():
    with serving({"/net.pth": b"another"}) as server:
        file = at(f"{server.url}/net.pth")
        line = weights.obtain(file)
    assert "\n" not in line and f"published is {SHA}" in line and not file.path.exists()


def test_without_a_network_one_line_comes_soon(monkeypatch):
    def hangs(*_):
        time.sleep(60)

    line = weights.obtain(at("https://127.0.0.1:9/net.pth"))
    assert "refused" in line and "by hand and put it at" in line and "\n" not in line
    monkeypatch.undo()
    monkeypatch.setattr(weights, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("socket.getaddrinfo", hangs)
    started = time.monotonic()
    line = weights.obtain(at("https://far.invalid/net.pth"))
    assert time.monotonic() - started < 2 and "no answer within 0.2 s" in line


def test_a_redirect_away_from_https_is_refused():
    request = download.urllib.request.Request(HTTPS)
    with pytest.raises(download.urllib.error.HTTPError, match="another protocol"):
        download._NoDowngrade().redirect_request(request, None, 302, "", {}, "http://example.invalid/net.pth")


def test_the_key_holds_the_digest_not_the_address(tmp_path):
    (tmp_path / "net.pth").write_bytes(CONTENT)
    keys = {
        plan(written).steps[1].key
        for written in (
            str(tmp_path / "net.pth"),
            {"url": HTTPS, "sha256": SHA},
            {"url": "https://mirror.invalid/x?a=1", "sha256": SHA},
        )
    }
    assert len(keys) == 1
    assert plan({"url": HTTPS, "sha256": "0" * 64}).steps[1].key not in keys
    assert HTTPS not in plan({"url": HTTPS, "sha256": SHA}).steps[1].manifest.text()


def test_planning_downloads_nothing_and_a_start_does():
    planned = plan({"url": HTTPS, "sha256": SHA})
    assert missing_inputs(planned) is None
    line = missing_inputs(planned, download=True)
    assert line.startswith("runs.r.train_classifier.checkpoint: cannot download net.pth: ")


def test_a_published_file_without_an_address_says_where_to_get_it(tmp_path):
    line = missing_inputs(plan("published:seam"))
    assert "published:seam is not at data/weights/resnet38_SEAM.pth; get it by hand: the Google Drive folder" in line
    (outside.BY_HAND).mkdir(parents=True)
    (outside.BY_HAND / "resnet38_SEAM.pth").write_bytes(CONTENT)
    assert missing_inputs(plan("published:seam")) is None
    (tmp_path / "net.pth").write_bytes(CONTENT)
    assert plan("published:seam").steps[1].key == plan(str(tmp_path / "net.pth")).steps[1].key


def test_a_published_file_without_a_digest_asks_for_it():
    line = missing_inputs(plan("published:deit-base"), download=True)
    assert "give its SHA-256: {url: https://dl.fbaipublicfiles.com" in line and "begins with b5f2ef4d" in line


def test_a_file_put_there_by_hand_is_checked_too():
    outside.BY_HAND.mkdir(parents=True)
    (outside.BY_HAND / "ViT-B-16.pt").write_bytes(b"another")
    assert "stated is 5806e77c" in missing_inputs(plan("published:clip-vit-b16"), download=True)


def test_the_catalogue_is_whole():
    known = known_weights()
    assert {"resnet38", "seam", "psa", "toco", "deit-base", "vit-base", "vit-hybrid"} <= known.keys()
    files = [entry.file for entry in known.values()]
    assert len(set(files)) == len(files) and all(Path(name).name == name for name in files)


def test_presets_name_published_files_as_the_catalogue_does():
    by_hand = {str(outside.BY_HAND / known.file) for known in known_weights().values()}
    for path in PRESETS.glob("*.yaml"):
        for line in yaml.safe_dump(yaml.safe_load(path.read_text())).splitlines():
            key, _, value = line.strip().partition(": ")
            if key == "checkpoint" and value.startswith(str(outside.BY_HAND)):
                assert value in by_hand, f"{path.name}: {value}"
