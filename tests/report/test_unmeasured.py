"""What the report says where there are no masks, or few."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from synthetic import make_run
from wsss.report.comparison import compare_page
from wsss.report.content import class_checks, report_page
from wsss.report.run import RunResults
from wsss.runtime.progress import rough_duration

QUALITY = """class,images,found,agreement,area_p10,area_median,area_p90,hint
cat,11,90.91,82.44,10.00,20.00,30.00,
null,6,0.00,0.00,0.00,0.00,0.00,"not found in 100 % of its images"
"""


def test_classes_are_told_by_the_quality_sheet_and_the_classifier(tmp_path):
    run = SimpleNamespace(folder=tmp_path)
    assert class_checks(run) == []
    (tmp_path / "quality").mkdir()
    (tmp_path / "quality" / "quality.csv").write_text(QUALITY)
    (tmp_path / "train_classifier").mkdir()
    (tmp_path / "train_classifier" / "average_precision.csv").write_text(
        "class,images,average_precision\ncat,2,75.5\nnull,0,\nmean,2,75.5\n"
    )
    cat, other = class_checks(run)
    assert (cat["class"], cat["found"], cat["precision"], cat["hint"]) == ("cat", 90.91, 75.5, None)
    assert (other["class"], other["precision"], other["hint"]) == ("null", None, "not found in 100 % of its images")


@pytest.mark.parametrize(
    ("seconds", "text"), [(59, "59 s"), (100, "1 min 40 s"), (905, "15 min"), (7500, "2 h 05 min")]
)
def test_a_time_has_no_needless_seconds(seconds, text):
    assert rough_duration(seconds) == text


def test_rows_without_a_hit_or_with_fewer_images_are_told(tmp_path):
    run = make_run(tmp_path, "tiny", train=3, val=2)
    table = pd.read_csv(run / "miou.csv")
    table.loc[[0, len(table) - 1], ["m_fn", "m_fp"]] = None
    table.loc[0, "images"] -= 1
    table.to_csv(run / "miou.csv", index=False)
    text = report_page(RunResults(run))
    assert ">nan<" not in text and "at nan" not in text and text.count('<td class="num">–</td>') == 4
    assert "over 2 to 3 train images and 2 val images" in text


def test_numbers_of_few_images_are_coloured_on_both_pages(tmp_path):
    runs = [make_run(tmp_path / name, name, train=3, val=2) for name in ("few", "many")]

    def shown():
        results = [RunResults(run) for run in runs]
        pages = (report_page(results[1]), compare_page(results))
        return [(page.count(' few"'), "fewer than 30 images" in page) for page in pages]

    def measured_on(run, images):
        table = pd.read_csv(run / "miou.csv").assign(images=images)
        table.to_csv(run / "miou.csv", index=False)
        return len(table)

    rows = measured_on(runs[0], 29)
    measured_on(runs[1], 30)
    assert shown() == [(0, False), (rows, True)]
    measured_on(runs[0], 30)
    assert shown() == [(0, False), (0, False)]
