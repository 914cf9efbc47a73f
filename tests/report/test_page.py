"""The report in headless Chromium: opened from disk, used as a person would."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from synthetic import CLASSES, HOSTILE_RUN, image_name, make_run
from wsss.data.sheet import read_ids
from wsss.report.comparison import compare_page
from wsss.report.content import report_page
from wsss.report.run import RunResults

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
ORDER = "[...document.querySelectorAll('#strip button')].map((b) => meta.items[b.dataset.index].id)"
PIXELS = "(i) => document.querySelectorAll('#panels canvas')[i].toDataURL()"
TRUTH = 1


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("results"), HOSTILE_RUN, train=14, val=6)


@pytest.fixture(scope="module")
def report(run) -> Path:
    file = run / "report.html"
    file.write_text(report_page(RunResults(run)), encoding="utf-8")
    return file


@pytest.fixture
def visit(browser):
    """Opens a file; at the end there must have been no complaint, and no request but for the file itself."""
    complaints, contexts = [], []

    def open_page(file: Path, width: int = 1280, scheme: str = "light", link: str = ""):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda r: complaints.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
        page.goto(file.as_uri() + link)
        page.wait_for_selector("#panels canvas")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def until(page, expression: str) -> None:
    """Waits for a condition; Playwright's own way would need the eval that the page forbids."""
    deadline = time.monotonic() + 10
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        page.wait_for_timeout(50)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_without_complaint_and_fits_the_window(visit, report, width, scheme):
    page = visit(report, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) < 100) == (scheme == "dark")
    assert page.locator("#panels canvas").count() >= 4
    for canvas in page.locator("#panels canvas").all():
        assert len(canvas.get_attribute("aria-label")) > 20
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every((s) => s.closest('[aria-hidden=true]') || s.ariaLabel)"
    )


def test_names_appear_as_text(visit, report):
    page = visit(report)
    assert page.locator("h1").inner_text() == HOSTILE_RUN
    assert page.title() == f"{HOSTILE_RUN} – wsss report"
    assert set(page.evaluate(ORDER)) == {image_name(i) for i in range(20)}
    classes = page.locator("#class-table tbody th").all_inner_texts()
    assert [name.strip() for name in classes] == list(CLASSES)
    options = page.locator("#class option").all_inner_texts()
    assert options[1:] == list(CLASSES[1:])
    assert page.locator("#chips label").nth(0).inner_text() == CLASSES[1]
    page.evaluate("select()")
    page.hover("#panels canvas >> nth=1")
    assert "Ground truth" in page.locator("#probe").inner_text()


def test_marked_images_are_exported_as_a_table_of_ids(visit, report, tmp_path):
    page = visit(report)
    assert page.locator("#export").is_disabled()
    page.locator("#sort").select_option("agreement")
    first = page.evaluate(ORDER)[0]
    page.keyboard.press("m")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("M")
    assert page.locator("#strip button.marked").count() == 2
    assert page.locator("#export").inner_text() == "Export 2 marked"
    third = page.evaluate("current.id")
    page.reload()  # marks stay
    page.wait_for_selector("#strip button.marked")
    with page.expect_download() as download:
        page.locator("#export").click()
    download.value.save_as(tmp_path / "marked.csv")
    assert set(read_ids(tmp_path / "marked.csv")) == {first, third}
    page.locator("#unmark").click()
    assert page.locator("#strip button.marked").count() == 0


def test_images_whose_label_is_not_found_come_first(visit, report):
    page = visit(report)
    assert page.locator("#sort option[value=missing]").count() == 0  # every label is found
    page.evaluate("meta.items[3].missing = [1, 2]; meta.items[5].missing = [1]; fillControls(); select()")
    page.locator("#sort").select_option("missing")
    assert page.evaluate("shown.slice(0, 3).map((item) => item.missing.length)") == [2, 1, 0]
    assert ", not found: " in page.locator("#image-facts").inner_text()


def test_slider_and_class_toggles_change_pixels(visit, report):
    page = visit(report)
    before = page.evaluate(PIXELS, TRUTH)
    page.locator("#opacity").fill("10")
    faint = page.evaluate(PIXELS, TRUTH)
    assert faint != before and page.locator("#opacity-value").inner_text() == "10 %"
    page.locator("#opacity").fill("60")
    assert page.evaluate(PIXELS, TRUTH) == before
    count = page.locator("#panels canvas").count()
    present = page.evaluate("current.classes[0]")
    page.locator(f"[data-chip='{present}']").uncheck()
    assert page.evaluate(PIXELS, TRUTH) != before
    assert page.locator("#panels canvas").count() < count  # its activation maps are gone
    page.locator(f"[data-chip='{present}']").check()
    page.locator("[data-chip='255']").uncheck()
    assert page.evaluate(PIXELS, TRUTH) != before  # ignored pixels lose their hatching


def test_filter_and_order(visit, report):
    page = visit(report)
    ious = page.evaluate("shown.map((item) => item.iou)")
    assert ious == sorted(ious) and len(ious) == 20
    page.select_option("#sort", "best")
    assert page.evaluate("shown.map((item) => item.iou)") == ious[::-1]
    page.select_option("#sort", "uncertain")
    uncertainties = page.evaluate("shown.map((item) => item.uncertainty)")
    assert uncertainties == sorted(uncertainties, reverse=True)
    page.select_option("#split", "val")
    assert page.locator("#strip button").count() == 6
    page.select_option("#split", "")
    page.select_option("#class", "2")
    assert 0 < page.locator("#strip button").count() < 20
    assert page.evaluate("shown.every((item) => item.classes.includes(2))")


def test_keys_move_and_the_link_restores(visit, report):
    page = visit(report)
    page.select_option("#sort", "id")
    page.locator("h1").click()
    first = page.locator("#image-name").inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    third = page.locator("#image-name").inner_text()
    page.keyboard.press("ArrowLeft")
    second = page.locator("#image-name").inner_text()
    assert [first, second, third] == page.evaluate(ORDER)[:3]
    page.locator("#opacity").fill("85")
    page.locator("[data-chip='2']").uncheck()
    until(page, "location.hash.includes('opacity=85') && location.hash.includes('hide=2')")
    pixels = page.evaluate(PIXELS, TRUTH)
    other = visit(report, link=page.evaluate("location.hash"))
    assert other.locator("#image-name").inner_text() == second
    assert other.input_value("#sort") == "id" and other.input_value("#opacity") == "85"
    assert not other.locator("[data-chip='2']").is_checked()
    assert other.evaluate(PIXELS, TRUTH) == pixels


def test_tables_sort_and_confusion_switches(visit, report):
    page = visit(report)
    page.click("#worst-first")
    column = page.input_value("#class-stage")
    values = page.evaluate(
        f"[...document.querySelectorAll('#class-table tbody tr')].map((r) => Number(r.cells[{column}].dataset.value))"
    )
    assert values == sorted(values)
    page.click("#best-first")
    assert (
        page.evaluate(f"Number(document.querySelector('#class-table tbody tr').cells[{column}].dataset.value)")
        == values[-1]
    )
    page.select_option("#confusion-stage", "cam-train")
    shown = page.evaluate(
        "[...document.querySelectorAll('[data-confusion]')].filter((f) => !f.hidden).map((f) => f.dataset.confusion)"
    )
    assert shown == ["cam-train"]


def test_comparison_shows_the_same_image_through_all_runs(visit, run, tmp_path):
    other = make_run(tmp_path, "other & <b>", train=14, val=6, seed=1)
    file = tmp_path / "compare.html"
    file.write_text(compare_page([RunResults(run), RunResults(other)]), encoding="utf-8")
    page = visit(file)
    titles = " ".join(page.locator("#panels figcaption").all_inner_texts())
    assert HOSTILE_RUN in titles and "other & <b>" in titles
    page.select_option("#sort", "spread")
    spreads = page.evaluate("shown.map((item) => item.spread)")
    assert spreads == sorted(spreads, reverse=True) and spreads[0] > 0


def test_a_thousand_images(visit, tmp_path):
    run = make_run(tmp_path, "many", train=700, val=300, size=(281, 375), noise=120)
    start, spent = time.monotonic(), time.process_time()
    page_text = report_page(RunResults(run))
    built, worked = time.monotonic() - start, time.process_time() - spent
    file = tmp_path / "report.html"
    file.write_text(page_text, encoding="utf-8")
    size = file.stat().st_size
    start = time.monotonic()
    page = visit(file)
    opened = time.monotonic() - start
    drawn = page.evaluate("[...document.querySelectorAll('#strip canvas')].filter((c) => c.width > 4).length")
    count = page.locator("#strip button").count()
    print(f"built in {built:.1f} s ({worked:.1f} s of work), {size / 1e6:.1f} MB, opened in {opened:.2f} s")
    print(f"{drawn} of {count} thumbnails drawn")
    assert worked < 60 and opened < 3 and size <= 15_000_000
    assert count > 300 and drawn < count / 2
    page.locator("#strip button").last.scroll_into_view_if_needed()
    until(page, "[...document.querySelectorAll('#strip canvas')].at(-1).width > 4")
