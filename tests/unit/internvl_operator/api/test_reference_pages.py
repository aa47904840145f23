from dataclasses import fields

from internvl_operator.api import reference
from internvl_operator.api.conditions import Reason
from internvl_operator.settings import Settings
from internvl_runtimes.contract import metrics


def rows(page: str) -> dict[str, list[str]]:
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line[:3] == "| `"
    ]
    return {row[0].strip("`"): row for row in cells}


def test_every_setting_has_a_row_with_its_default_and_a_meaning():
    found = rows(reference.encode_settings())
    assert list(found) == [f"INTERNVL_OPERATOR_{item.name.upper()}" for item in fields(Settings)]
    assert found["INTERNVL_OPERATOR_DELETION_DEADLINE_S"][1] == "`60.0`"
    assert found["INTERNVL_OPERATOR_RAY_ADDRESS"][1] == ""
    assert [name for name, row in found.items() if len(row) != 3 or len(row[2]) < 10] == []


def test_every_field_and_every_reason_is_explained():
    assert [name for name, row in rows(reference.encode_reference()).items() if len(row[3]) < 5] == []
    page = rows(reference.encode_conditions())
    assert [reason for reason in Reason if not (page[reason][1] and page[reason][2])] == []


def test_every_metric_has_a_row_under_the_name_that_a_scrape_shows():
    found = rows(reference.encode_metrics())
    assert list(found) == [metric.exported for metric in metrics.ALL]
    assert found["ray_internvl_tiles_total"][1:5] == ["counter", "tiles", "vision", "`rate`: keep, compress"]
    assert found["ray_internvl_errors_total"][4] == "`reason`"
    assert [name for name, row in found.items() if len(row) != 6 or len(row[5]) < 10] == []
